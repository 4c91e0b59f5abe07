// Programs.

import { button, program } from "./actions.js";
import { get, part } from "./api.js";
import { $, fill, h, icon, setText, show, throttled } from "./dom.js";
import { clock, duration } from "./format.js";
import { saying } from "./list.js";
import { emit, now, on, Places, store } from "./store.js";

const AGAIN_MS = 5000;
/** By state, the worst first: its word, its picture, and its colour. */
const STATES = {
  "given-up": ["Given up", "given-up", "given-up"],
  backoff: ["Restarts", "expired", "expired"],
  queued: ["Queued", "busy", "waiting"],
  starting: ["Starting", "busy", "waiting"],
  stopping: ["Stopping", "busy", "waiting"],
  running: ["Running", "running", "alive"],
  stopped: ["Stopped", "stopped", "paused"],
};

const places = new Places(Object.fromEntries(Object.keys(STATES).map((state, place) => [state, place])), "running");

let programs = [];
let readAt = 0;
let shown = "";

/** Begin. */
export function startPrograms() {
  const again = throttled(load, 300);
  on("event", (event) => event.type === "program" && again());
  on("summary", () => store.summary.programs !== programs.length && again());
  on("link", () => store.link === "up" && again());
  fill($("view-programs"), h("h1", {}, "Programs"), h("p", { class: "soft" }, "Loading…"));
  setInterval(() => !document.hidden && !$("view-programs").hidden && load(), AGAIN_MS);
}

/** What is known of the program of this name; undefined: there is none. */
export const programNamed = (name) => programs.find((each) => each.name === name);

async function load() {
  if (store.link !== "up") return;
  try {
    programs = (await get("/api/v1/programs")).rows;
    for (const each of programs) each.place = places.of(each);
    programs.sort((a, b) => a.place - b.place || a.name.localeCompare(b.name, "en", { numeric: true }));
    readAt = now();
  } catch {
    return; // the next time
  }
  setText($("number-programs"), programs.length ? String(programs.length) : "");
  paint();
  emit("programs");
}

function paint() {
  const key = JSON.stringify(programs.map((each) => [each.name, each.state, each.place, each.pid, each.failures, remark({ ...each, due: null })]));
  const place = $("view-programs");
  if (key === shown && programs.length) return;
  shown = key;
  const focused = document.activeElement?.dataset?.key;
  if (!programs.length) {
    fill(place, h("h1", {}, "Programs"), h("p", { class: "soft" }, "No programs. Declare them as [[program]] in the config."));
    return;
  }
  const heads = ["State", "Name", "Since", "Process", "Failures", "Remark", ""];
  fill(
    place,
    h("h1", {}, "Programs"),
    h("table", { class: "cards" }, h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head || h("span", { class: "hidden" }, "Actions"))))), h("tbody", {}, programs.map(line))),
  );
  if (focused) place.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

/** What is to be known of a program: how it is watched, why it is down, when it starts again. */
function remark(each) {
  const row = store.rows.get(each.name);
  const again = each.due !== null && each.state === "backoff" ? `starts again in ${duration(each.due)}` : "";
  const awaits = each.awaits.length ? `starts when ${each.awaits.slice(0, 5).join(", ")} is ready` : "";
  const starts = each.state === "starting" && each.pid !== null ? "not ready yet" : "";
  return [row && saying(row), again, awaits, starts, each.reloading ? "reloads" : "", each.why, each.adopted ? "adopted from a former supervisor" : ""].filter(Boolean).join("; ");
}

function line(each) {
  const [word, picture, kind] = STATES[each.state] ?? [each.state, "busy", "waiting"];
  const act = (what, picture, label) => {
    const made = button(picture, label, () => program(what, each.name, each.pid));
    made.dataset.key = `${what} ${each.name}`;
    made.setAttribute("aria-label", `${label} ${each.name}`);
    return made;
  };
  const since = Date.now() / 1000 - each.since - (now() - readAt);
  return h(
    "tr",
    {},
    h("td", {}, h("span", { class: `badge ${kind}` }, icon(picture), h("span", { class: "word" }, word))),
    h("th", { scope: "row" }, store.rows.has(each.name) ? h("a", { href: `#/watchdog/${part(each.name)}` }, each.name) : each.name),
    h("td", { data: { label: "Since" }, title: `for ${duration(each.since)}` }, clock(since)),
    h("td", { class: "process", data: { label: "Process" } }, each.pid === null ? "–" : `pid ${each.pid}`),
    h("td", { data: { label: "Failures" } }, String(each.failures)),
    h("td", { class: "soft", data: { label: "Remark" } }, remark(each)),
    h("td", { class: "does" }, each.pid === null ? act("start", "resume", "Start") : [act("restart", "restart", "Restart"), act("stop", "stop", "Stop")]),
  );
}
