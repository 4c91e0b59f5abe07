// Programs.

import { button, program } from "./actions.js";
import { get, part } from "./api.js";
import { $, fill, h, icon, setText, show, throttled } from "./dom.js";
import { duration } from "./format.js";
import { emit, now, on, store } from "./store.js";

const AGAIN_MS = 5000;
const PICTURES = { running: "running", stopped: "stopped", "gave-up": "given-up", failed: "expired", exited: "stopped" };

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
    readAt = now();
  } catch {
    return; // the next time
  }
  setText($("number-programs"), programs.length ? String(programs.length) : "");
  paint();
  emit("programs");
}

function paint() {
  const key = JSON.stringify(programs.map(({ since, due, ...rest }) => rest));
  const place = $("view-programs");
  if (key === shown && programs.length) return;
  shown = key;
  const focused = document.activeElement?.dataset?.key;
  if (!programs.length) {
    fill(place, h("h1", {}, "Programs"), h("p", { class: "soft" }, "No programs. Declare them as [[program]] in the config."));
    return;
  }
  const heads = ["State", "Name", "Since", "Process", "Failures", ""];
  fill(
    place,
    h("h1", {}, "Programs"),
    h("table", { class: "cards" }, h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head || h("span", { class: "hidden" }, "Actions"))))), h("tbody", {}, programs.map(line))),
  );
  if (focused) place.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

const word = (state) => `${state[0].toUpperCase()}${state.slice(1).replaceAll("-", " ")}`;

function line(each) {
  const kind = { running: "alive", "gave-up": "given-up", failed: "expired" }[each.state] ?? "waiting";
  const act = (what, picture, label) => {
    const made = button(picture, label, () => program(what, each.name, each.pid));
    made.dataset.key = `${what} ${each.name}`;
    made.setAttribute("aria-label", `${label} ${each.name}`);
    return made;
  };
  const since = Date.now() / 1000 - each.since - (now() - readAt);
  const date = new Date(since * 1000);
  return h(
    "tr",
    {},
    h("td", {}, h("span", { class: `badge ${kind}` }, icon(PICTURES[each.state] ?? "busy"), h("span", { class: "word" }, word(each.state)))),
    h("th", { scope: "row" }, store.rows.has(each.name) ? h("a", { href: `#/watchdog/${part(each.name)}` }, each.name) : each.name),
    h("td", { data: { label: "Since" }, title: `for ${duration(each.since)}` }, date.toLocaleString("sv-SE"), each.due === null || each.due === undefined ? "" : `, starts again in ${duration(each.due)}`),
    h("td", { data: { label: "Process" } }, each.pid === null ? "–" : `pid ${each.pid}${each.adopted ? " (adopted)" : ""}`),
    h("td", { data: { label: "Failures" } }, String(each.failures)),
    h("td", { class: "does" }, each.pid === null ? act("start", "resume", "Start") : [act("restart", "restart", "Restart"), act("stop", "stop", "Stop")]),
  );
}
