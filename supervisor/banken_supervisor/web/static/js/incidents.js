// The list of incidents, and the page of one.

import { get, part } from "./api.js";
import { $, fill, h, icon, setText, show, throttled } from "./dom.js";
import { bytes, CAUSES, duration, limit, plural, precise, standing } from "./format.js";
import { on, store } from "./store.js";
import { folded, incidentLine, moment, told } from "./timeline.js";

const LIMIT = 200;
const MATTERS = new Set(["expired", "recovered", "closed", "given-up", "released"]);

let listed = null; // the query of the list that is shown
let story = null; // the id of the incident that is shown
let onlyOpen = false;

/** Begin. */
export function startIncidents() {
  const list = throttled(() => listed !== null && loadList(), 1000);
  const again = throttled(() => story !== null && loadStory(story), 1000);
  on("event", (event) => {
    if (MATTERS.has(event.type)) list();
    if (story !== null && event.incident === story) again();
  });
  on("link", () => store.link === "up" && (list(), again()));
  on("rows", number);
}

function number() {
  let open = 0;
  for (const row of store.rows.values()) if (row.incident) open += 1;
  setText($("number-incidents"), open ? String(open) : "");
  show($("word-open"), open > 0);
}

/** Show the list (`query`: {name} or {}), or null: hide it. */
export function showIncidents(query) {
  listed = query;
  if (query !== null) loadList();
}

/** Show one incident, or null: hide it. */
export function showIncident(id) {
  story = id;
  if (id === null) return;
  fill($("view-incident"), h("p", { class: "soft" }, "Loading…"));
  loadStory(id);
}

async function loadList() {
  const query = listed;
  const place = $("view-incidents");
  try {
    const name = query.name ? `&name=${part(query.name)}` : "";
    const both = ["&open=1", ""].map((more) => get(`/api/v1/incidents?limit=${LIMIT}${name}${more}`));
    const [open, all] = (await Promise.all(both)).map((each) => each.incidents); // one that is open may be very old
    if (listed !== query) return;
    paintList(place, query, [...open, ...all.filter((each) => each.closed !== null)], all.length);
  } catch (fault) {
    if (listed === query) fill(place, h("h1", {}, "Incidents"), h("p", { class: "fault" }, `Could not be read: ${fault.message}`));
  }
}

function paintList(place, query, incidents, read) {
  const open = incidents.filter((each) => each.closed === null).sort((a, b) => (b.how === "given-up") - (a.how === "given-up") || b.opened - a.opened);
  const closed = incidents.filter((each) => each.closed !== null);
  const lines = (some) => h("ul", { class: "incident-lines" }, some.map((each) => h("li", {}, incidentLine(each))));
  const box = h("input", { type: "checkbox", checked: onlyOpen, id: "only-open" });
  box.addEventListener("change", () => {
    onlyOpen = box.checked;
    paintList(place, query, incidents, read);
    $("only-open").focus();
  });
  fill(
    place,
    h("div", { class: "page-head" }, h("h1", {}, query.name ? `Incidents of ${query.name}` : "Incidents"), h("label", { class: "choice" }, box, "Only open ones")),
    query.name ? h("p", {}, h("a", { href: "#/incidents" }, "All incidents")) : null,
    h("h2", {}, open.length ? `Open (${open.length})` : "No open incidents"),
    open.length ? lines(open) : null,
    onlyOpen ? null : [h("h2", {}, `Closed, newest first${read === LIMIT ? ` (only the newest ${LIMIT} incidents)` : ""}`), closed.length ? lines(closed) : h("p", { class: "soft" }, "None.")],
  );
}

async function loadStory(id) {
  try {
    const found = await get(`/api/v1/incidents/${part(id)}`);
    if (story === id) paintStory(found);
  } catch (fault) {
    if (story === id) fill($("view-incident"), back(), h("p", { class: "fault" }, fault.message));
  }
}

const back = () => h("p", { class: "back" }, h("a", { href: "#/incidents" }, icon("back"), "All incidents"));

function paintStory(found) {
  const place = $("view-incident");
  const opened = new Set([...place.querySelectorAll("details[open]")].map((each) => each.dataset.key));
  const [picture, words] = standing(found);
  const state = picture === "done" ? "alive" : picture;
  const outputs = found.steps.filter((step) => String(step.text).includes("\n"));
  fill(
    place,
    back(),
    h("div", { class: "page-head" }, h("h1", {}, found.name, ": ", CAUSES[found.cause] ?? found.cause), h("p", { class: `badge ${state}` }, icon(state), h("span", { class: "word" }, found.closed === null && words !== "open" ? `Open: ${words}` : `${words[0].toUpperCase()}${words.slice(1)}`))),
    h("p", {}, h("a", { href: `#/watchdog/${part(found.name)}` }, `Go to ${found.name}`)),
    found.evidence.map((each) => (each.headline ? h("p", { class: "headline" }, h("span", { class: "label" }, each.outputs && !each.threads ? "What it said last" : "Where it hung"), each.headline) : null)),
    facts(found),
    found.reason ? [h("h2", {}, "Reason"), h("pre", {}, found.reason)] : null,
    results(found.events.find((event) => event.type === "expired")),
    h("h2", {}, "Timeline"),
    timeline(found),
    outputs.map((each) => [h("h2", {}, `Output of ${each.action} (step ${each.step + 1}, run ${each.run})`), h("pre", { tabindex: "0" }, each.text.slice(each.text.indexOf("\n") + 1))]),
    found.evidence.map((each, place) => evidence(each, place)),
    found.problems.map((problem) => h("p", { class: "fault" }, `Unreadable: ${problem}`)),
  );
  for (const each of place.querySelectorAll("details")) if (opened.has(each.dataset.key)) each.open = true;
}

/** The last results of a check, as they were at the verdict. */
function results(event) {
  const shown = Array.isArray(event?.results) ? event.results.filter((one) => one && typeof one === "object") : [];
  if (!shown.length) return null;
  const row = (one) => h("tr", {}, [precise(Number(one.age)), one.passed ? "passed" : "failed", precise(Number(one.took)), String(one.text ?? "")].map((cell) => h("td", {}, cell)));
  const head = ["Before", "Result", "Took", "What it saw"].map((name) => h("th", { scope: "col" }, name));
  return [h("h2", {}, `The last ${plural(shown.length, "result")}`), h("table", { class: "plain-table" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, shown.map(row)))];
}

function pairs(all) {
  return h("dl", { class: "facts-list" }, all.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([what, value]) => h("div", {}, h("dt", {}, what), h("dd", {}, value instanceof Node ? value : String(value)))));
}

function facts(found) {
  return pairs([
    ["Opened", moment(found.opened)],
    ["Closed", found.closed === null ? null : moment(found.closed)],
    ["Lasted", found.closed === null ? null : duration(found.closed - found.opened)],
    ["Silence at the verdict", limit(found.timeout) === "none" ? null : `${duration(found.silence)} (timeout ${duration(found.timeout)})`],
    ["Process", found.pid === null ? null : `pid ${found.pid}`],
    ["Last status", found.status],
    ["Progress", found.progress],
    ["Level", found.level],
    ["Incident", found.id],
  ]);
}

function timeline(found) {
  return h(
    "ol",
    { class: "timeline" },
    folded(found.events).map((event) => {
      const [picture, kind, sentence, more] = told(event);
      const after = event.time - found.opened;
      return h(
        "li",
        { class: kind },
        icon(picture),
        h("span", { class: "after" }, after > 0.0005 ? `+${duration(after)}` : moment(event.time)),
        h("div", {}, h("span", {}, sentence), more ? h("details", { data: { key: `event ${event.time} ${event.type}` } }, h("summary", {}, "More"), h("pre", { tabindex: "0" }, more)) : null),
      );
    }),
  );
}

function evidence(each, place) {
  const process = each.process ?? {};
  const waits = each.main_wait ?? {};
  return h(
    "section",
    { class: "evidence" },
    h("h2", {}, "Evidence from ", moment(each.taken, true)),
    pairs([
      ["State", process.state_words ? `${process.state_words} (${process.state})` : null],
      ["Waiting in", waits.wchan && waits.wchan !== "0" ? `${waits.wchan}${waits.syscall ? ` (system call ${waits.syscall})` : ""}` : null],
      ["Processor time", process.cpu_user_s === undefined ? null : `${duration(process.cpu_user_s)} user, ${duration(process.cpu_system_s)} system`],
      ["Memory", process.rss_bytes === undefined ? null : bytes(process.rss_bytes)],
      ["Open files", process.fds === undefined || process.fds === null ? null : `${process.fds} of ${process.fds_max}`],
      ["Command", process.cmdline?.join(" ")],
      ["Stacks taken by", each.stacks_by],
    ]),
    lastFeeds(each.feeds ?? each.said?.feeds),
    (each.threads ?? []).map((thread) => stack(thread, `thread ${place} ${thread.tid}`)),
    each.threads_left_out ? h("p", { class: "soft" }, `${plural(each.threads_left_out, "thread")} more`) : null,
    (each.tasks ?? []).map((task, number) => stack({ ...task, task: true }, `task ${place} ${number}`)),
    (each.outputs ?? []).map((output) => [h("h3", {}, `Last output of ${output.of}`), h("pre", { tabindex: "0" }, output.lines.join("\n"))]),
    (each.problems ?? []).map((problem) => h("p", { class: "fault" }, String(problem))),
    h("details", { data: { key: `raw ${place}` } }, h("summary", {}, "All evidence as JSON"), h("pre", { tabindex: "0" }, JSON.stringify(each, null, 2))),
  );
}

function lastFeeds(feeds) {
  if (!Array.isArray(feeds) || !feeds.length) return null;
  const row = (one) => h("tr", {}, one.map((value) => h("td", {}, typeof value === "number" ? precise(value) : "–")));
  const shown = feeds.slice(-12).filter(Array.isArray);
  return h("details", { data: { key: "feeds" } }, h("summary", {}, `The last ${plural(feeds.length, "feed")}`), h("table", { class: "plain-table" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Before"), h("th", { scope: "col" }, "Gap"))), h("tbody", {}, shown.map(row))));
}

function stack(thread, key) {
  const lines = (thread.frames ?? thread.stack ?? []).map((frame) => (typeof frame === "string" ? frame : `${frame.function}  ${frame.file}:${frame.line}`));
  if (thread.frames_left_out) lines.push(`… ${thread.frames_left_out} more`);
  const what = thread.task ? "Task" : "Thread";
  const wait = thread.wait?.wchan && thread.wait.wchan !== "0" ? `, waiting in ${thread.wait.wchan}` : "";
  const gil = thread.gil ? ", holds the interpreter lock" : "";
  return h(
    "details",
    { class: "stack", data: { key }, open: thread.main || thread.task ? true : false },
    h("summary", {}, h("strong", {}, `${what} ${thread.name ?? thread.tid ?? ""}`), h("span", { class: "soft" }, `${gil}${wait}`)),
    h("pre", { tabindex: "0" }, lines.join("\n") || "no frames"),
  );
}

/** Whether the list or one incident is shown at all. */
export const toggleViews = (view) => {
  show($("view-incidents"), view === "incidents");
  show($("view-incident"), view === "incident");
};
