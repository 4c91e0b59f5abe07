// The list of all watchdogs. Only the rows in view are in the document, however many there are; each is an element of
// its own that follows its watchdog when the order changes, so that focus stays where it is.

import { get, part } from "./api.js";
import { $, fill, h, icon, setIcon, setText, show, throttled } from "./dom.js";
import { CAUSES, count, duration, gist, limit } from "./format.js";
import { chosen, counts, emit, left, now, on, settle, silence, stale, STATES, store, take } from "./store.js";

const OVER = 6; // rows kept ready above and below those in view
const TICK_MS = 250; // in steps, and not as a movement: a page that is open all day is to cost next to nothing
const STEPS = 72; // a bar's pixels
const LOOK_MS = 1000;
const LOOK_MAX = 200;
const ORDER_MS = 250;
const SETTLE_MS = 5000; // how often it is looked whether rows that got better may move

const COLUMNS = [
  ["state", "State", "state"],
  ["name", "Name", "name"],
  [null, "Status", "status"],
  [null, "Time left", "left"],
  ["timeout", "Timeout", "timeout"],
  ["incidents", "Incidents", "times"],
];

const filter = { states: new Set(), text: "", order: "state" };
const rows = new Map();
let shown = [];
let selected = null;
let height = 0;
let opened = null;
let openName = null;
let looking = false;
let ticks = 0;

const narrow = matchMedia("(max-width: 700px)");
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Begin. `open(name)` shows one watchdog. */
export function startList(open) {
  opened = open;
  fill($("columns"), COLUMNS.map(([order, label, name]) => column(order, label, name)));
  buildChips();
  $("search").addEventListener("input", () => {
    filter.text = $("search").value;
    refresh();
  });
  $("scroll").addEventListener("scroll", scrolled, { passive: true });
  $("scroll").addEventListener("focusin", ({ target }) => {
    const name = target.closest("[data-name]")?.dataset.name;
    if (name) select(name);
  });
  new ResizeObserver(() => draw()).observe($("scroll"));
  narrow.addEventListener("change", refresh);
  const anew = throttled(refresh, ORDER_MS);
  on("rows", anew);
  on("link", anew);
  setInterval(anew, SETTLE_MS);
  setInterval(tick, TICK_MS);
  setInterval(look, LOOK_MS);
  document.addEventListener("visibilitychange", look);
}

/** The row that keys are about. */
export const current = () => selected;

/** Show which row is open in the panel. */
export function markOpen(name) {
  for (const [each, row] of rows) row.node.classList.toggle("open", each === name);
  openName = name;
}

/** Select the row so many places further; scrolls it into view and gives it the focus. */
export function move(places) {
  if (!shown.length) return;
  const at = shown.findIndex((row) => row.name === selected);
  const next = at < 0 ? 0 : Math.min(shown.length - 1, Math.max(0, at + places));
  select(shown[next].name);
  const scroll = $("scroll");
  const top = next * height;
  if (top < scroll.scrollTop) scroll.scrollTop = top;
  else if (top + height > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = top + height - scroll.clientHeight;
  draw();
  rows.get(selected)?.link.focus({ preventScroll: true });
}

/** Give the focus back to the row of this name, if it is in view. */
export const focusRow = (name) => (rows.get(name)?.link ?? $("main")).focus({ preventScroll: true });

/** How many rows are shown. */
export const length = () => shown.length;

function select(name) {
  rows.get(selected)?.node.classList.remove("selected");
  selected = name;
  rows.get(selected)?.node.classList.add("selected");
}

// -- what is shown, in which order -------------------------------------------------------------------

function refresh() {
  shown = chosen(filter);
  const found = counts();
  for (const chip of $("chips").children) {
    const { state } = chip.dataset;
    setText(chip.lastChild, count(state ? (found[state] ?? 0) : store.rows.size));
    chip.classList.toggle("some", state === "" || (found[state] ?? 0) > 0);
  }
  setText($("number-watchdogs"), store.complete ? count(store.rows.size) : "");
  $("table").setAttribute("aria-rowcount", String(shown.length + 1));
  const none = store.complete && !shown.length;
  show($("empty"), none);
  if (none) fill($("empty"), store.rows.size ? nothingFound() : nothingYet());
  draw();
}

function nothingFound() {
  return ["No watchdog matches. ", h("button", { type: "button", class: "link", on: { click: clear } }, "Show all")];
}

function nothingYet() {
  return ["No watchdogs yet. The first feed creates one: ", h("code", {}, "banken feed NAME --timeout 30s")];
}

function clear() {
  filter.states.clear();
  filter.text = $("search").value = "";
  for (const chip of $("chips").children) chip.setAttribute("aria-pressed", String(chip.dataset.state === ""));
  refresh();
}

function buildChips() {
  const chip = (state, label) =>
    h(
      "button",
      { type: "button", class: `chip ${state}`, data: { state }, "aria-pressed": String(state === ""), on: { click: () => toggle(state) } },
      state ? icon(state) : null,
      h("span", {}, label),
      h("span", { class: "number" }, "0"),
    );
  fill($("chips"), chip("", "All"), Object.entries(STATES).map(([state, label]) => chip(state, label)));
}

function toggle(state) {
  if (state === "") filter.states.clear();
  else if (!filter.states.delete(state)) filter.states.add(state);
  for (const chip of $("chips").children) {
    const of = chip.dataset.state;
    chip.setAttribute("aria-pressed", String(of === "" ? !filter.states.size : filter.states.has(of)));
  }
  $("scroll").scrollTop = 0;
  refresh();
}

function column(order, label, name) {
  const cell = h("div", { role: "columnheader", class: `cell ${name}`, data: { order } });
  if (order === null) return fill(cell, label), cell;
  cell.setAttribute("aria-sort", order === filter.order ? "ascending" : "none");
  const sort = () => {
    filter.order = order;
    settle();
    for (const each of $("columns").children) {
      if (each.dataset.order !== "null") each.setAttribute("aria-sort", each.dataset.order === order ? "ascending" : "none");
    }
    $("scroll").scrollTop = 0;
    refresh();
  };
  const titles = { state: "the worst first; rows that got better stay for a minute", name: "by name", timeout: "the shortest first", incidents: "the most first" };
  fill(cell, h("button", { type: "button", title: `Sort: ${titles[order]}`, on: { click: sort } }, label));
  return cell;
}

// -- the rows in view --------------------------------------------------------------------------------

const scrolled = throttled(() => {
  draw();
  lookSoon();
}, 16);

const lookSoon = throttled(() => look(), 250);

function draw() {
  const scroll = $("scroll");
  if (!scroll.clientHeight) return;
  height = narrow.matches ? 62 : 36;
  $("space").style.height = `${shown.length * height}px`;
  const first = Math.max(0, Math.floor(scroll.scrollTop / height) - OVER);
  const last = Math.min(shown.length, Math.ceil((scroll.scrollTop + scroll.clientHeight) / height) + OVER);
  const wanted = new Set();
  for (let place = first; place < last; place++) wanted.add(shown[place].name);
  for (const [name, row] of rows) {
    if (wanted.has(name)) continue;
    row.node.remove();
    rows.delete(name);
  }
  let before = null; // in the document in the order in which they are seen, for those who hear them
  for (let place = first; place < last; place++) {
    const { name } = shown[place];
    let row = rows.get(name);
    if (row === undefined) rows.set(name, (row = new Row(name)));
    row.place(place, before);
    row.update(store.rows.get(name));
    before = row.node;
  }
}

function tick() {
  if (document.hidden || $("view-watchdogs").hidden || store.link !== "up") return;
  if (calm.matches && ticks++ % 4) return;
  for (const row of rows.values()) row.time();
}

/** Feeds are no events: those in view are asked about once a second. */
async function look() {
  if (document.hidden || $("view-watchdogs").hidden || store.link !== "up" || looking) return;
  const names = [...rows.keys()].slice(0, LOOK_MAX);
  if (!names.length) return;
  looking = true;
  try {
    const found = await get(`/api/v1/look?names=${names.map(part).join(",")}`);
    take(found.rows.filter((row) => store.rows.has(row.name)));
    for (const row of found.rows) rows.get(row.name)?.update(row);
    emit("looked", found);
  } catch {
    // the stream reports when the supervisor is down; the next second asks again
  } finally {
    looking = false;
  }
}

class Row {
  constructor(name) {
    this.icon = icon("alive");
    this.word = h("span", { class: "word" });
    this.link = h("a", { href: `#/watchdog/${part(name)}` }, name);
    this.tag = h("span", { class: "tag", hidden: true }, "group");
    this.status = h("div", { role: "cell", class: "cell status" });
    this.text = h("span", { class: "text" });
    this.fill = h("span", { class: "fill" });
    this.timeout = h("div", { role: "cell", class: "cell timeout" });
    this.times = h("div", { role: "cell", class: "cell times" });
    this.node = h(
      "div",
      { role: "row", class: "row", data: { name }, on: { click: (event) => event.target.closest("a") || opened(name) } },
      h("div", { role: "cell", class: "cell state" }, this.icon, this.word),
      h("div", { role: "cell", class: "cell name" }, this.link, this.tag),
      this.status,
      h("div", { role: "cell", class: "cell left" }, h("span", { class: "bar", "aria-hidden": "true" }, this.fill), this.text),
      this.timeout,
      this.times,
    );
    this.node.classList.toggle("selected", name === selected);
    this.node.classList.toggle("open", name === openName);
    this.at = -1;
    this.row = null;
  }

  place(at, before) {
    if (this.at !== at) {
      this.at = at;
      this.node.style.transform = `translateY(${at * height}px)`;
      this.node.setAttribute("aria-rowindex", String(at + 2));
    }
    this.node.style.height = `${height}px`;
    const space = $("space");
    const after = before === null ? space.firstChild : before.nextSibling;
    // A row that has the focus would lose it by being moved: the others move round it.
    if (this.node !== after && !(this.node.isConnected && this.node.contains(document.activeElement))) {
      space.insertBefore(this.node, after);
    }
  }

  update(row) {
    if (row === undefined || row === this.row) return this.time();
    this.row = row;
    if (this.state !== row.state) {
      if (this.state) this.node.classList.remove(this.state);
      this.node.classList.add(row.state);
      this.state = row.state;
      setIcon(this.icon, row.state);
      setText(this.word, STATES[row.state] ?? row.state);
    }
    show(this.tag, Boolean(row.group || row.check));
    setText(this.tag, row.group ? "group" : "check");
    this.node.classList.toggle("grouped", Boolean(row.group));
    setText(this.status, saying(row));
    this.status.title = this.status.textContent; // what does not fit can be read
    setText(this.timeout, row.group ? "" : limit(row.timeout));
    setText(this.times, row.incidents ? count(row.incidents) : "");
    return this.time();
  }

  time() {
    const { row } = this;
    if (row === null) return;
    const [text, share] = remaining(row);
    setText(this.text, text);
    const scale = `scaleX(${(Math.round(share * STEPS) / STEPS).toFixed(3)})`;
    if (this.scale !== scale) this.fill.style.transform = this.scale = scale;
    this.node.classList.toggle("undue", !text);
  }
}

/** The status column. */
export function saying(row) {
  const stopped = row.group || row.stopped_with !== undefined ? unjudged(row) : "";
  if (row.check && !row.incident) return unjudged(row) || row.check;
  if (row.group) return `${row.group.alive} up, at least ${row.group.at_least} needed${stopped && `; ${stopped}`}`;
  return row.incident ? why(row.incident) : stopped || (row.status ?? (row.progress === undefined ? unjudged(row) : `progress ${row.progress}`));
}

/** Why its silence is not judged; empty: it is. */
export function unjudged(row) {
  if (row.state === "idle") return "has nothing to do";
  if (row.state !== "waiting" && row.state !== "running" && row.state !== "alive") return "";
  const { alive, at_least: wanted, stopped = [] } = row.group ?? {};
  if (stopped.length > 0 && alive < wanted) return `stopped: ${stopped.join(", ")}`;
  const program = left(row) === null ? row.stopped_with : undefined;
  if (program !== undefined) return row.pid === null ? `stopped with ${program}` : `depends on ${program}, which is stopped`;
  if (row.check_of && row.awaited === false) return `${row.check_of} is not running`;
  if (row.check_of) return limit(row.timeout) === "none" ? `looked at until ${row.check_of} is ready` : "";
  if (row.checks && limit(row.timeout) === "none") return row.checks === 1 ? "watched by its check" : `watched by its ${row.checks} checks`;
  if (row.state === "running" || (limit(row.timeout) === "none" && limit(row.grace) === "none")) return "only its end is watched";
  return row.awaited === false ? "not judged before its first feed" : "";
}

function why(about) {
  if (about.blamed) return `because of ${about.blamed}`;
  return `${CAUSES[about.cause] ?? about.cause}${about.reason ? `: ${gist(about.reason)}` : ""}`;
}

/** [text, share of the bar] for the time that is left. */
export function remaining(row) {
  if (row.group) return ["", 0];
  if (row.incident) return [row.incident.cause === "timeout" || row.incident.cause === "grace" ? `silent ${duration(silence(row))}` : `for ${duration(age(row))}`, 0];
  const rest = left(row);
  if (row.state === "paused") return [rest === null ? "until resumed" : `${duration(Math.max(0, rest))} more`, 0];
  if (rest === null || limit(rest) === "none") return ["", 0];
  if (stale(row)) return ["…", 0];
  const whole = row.state === "waiting" ? row.grace : row.timeout;
  return [duration(Math.max(0, rest)), Math.min(1, Math.max(0, rest / whole))];
}

const age = (row) => row.incident.age + (now() - row.base);
