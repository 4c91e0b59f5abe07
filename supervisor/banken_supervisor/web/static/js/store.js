// The page's data: one row for each watchdog, the supervisor's counts, and the listeners for changes.

/** States, the worst first, each with its word. */
export const STATES = {
  "given-up": "Given up",
  expired: "Expired",
  waiting: "Waiting",
  alive: "Alive",
  running: "Running",
  idle: "Idle",
  paused: "Paused",
};

const SETTLE_S = 60; // for so long a row keeps its place after its state got better: what fails again and again does not jump
const RANK = Object.fromEntries(Object.keys(STATES).map((state, place) => [state, place]));
RANK.running = RANK.idle = RANK.alive; // a worker changes between them all the time
const collator = new Intl.Collator("en", { numeric: true });

/** Seconds on this page's own clock, which never jumps. */
export const now = () => performance.now() / 1000;

export const store = {
  rows: new Map(),
  summary: null,
  /** "loading", "up", "down" (no supervisor answers), "lost" (the web process does not) or "locked" (no token) */
  link: "loading",
  error: "",
  /** all rows have come at least once */
  complete: false,
  /** page time at which anything was last heard */
  heard: 0,
};

const listeners = new Map();

/** Hear of "rows" (some changed), "link", "summary" or "event" (one of the supervisor's events). */
export function on(topic, listener) {
  if (!listeners.has(topic)) listeners.set(topic, []);
  listeners.get(topic).push(listener);
}

/** Call the listeners. */
export function emit(topic, told) {
  for (const listener of listeners.get(topic) ?? []) listener(told);
}

// The clocks of browser and supervisor may differ. A row read at `at` is as old as its transfer took; the shortest
// transfer seen so far counts as zero.
let skew = Infinity;

function age(at) {
  if (typeof at !== "number") return 0;
  const seen = Date.now() / 1000 - at;
  skew = Math.min(skew, seen);
  return Math.max(0, seen - skew);
}

let seen = null;
let ordered = true;

/** A new stream begins: rows that it has not sent when it is complete are removed. */
export function begin() {
  seen = new Set();
  skew = Infinity;
}

/** Rows as the supervisor gives them. */
export function take(rows) {
  for (const row of rows) {
    row.base = now() - age(row.at);
    const before = store.rows.get(row.name);
    if (before === undefined) ordered = false;
    else row.order = before.order;
    store.rows.set(row.name, row);
    seen?.add(row.name);
  }
}

/** These are no longer watched. */
export function drop(names) {
  for (const name of names) store.rows.delete(name) && places.worst.delete(name);
}

/** The stream has sent all rows. */
export function finish() {
  if (seen !== null) for (const name of store.rows.keys()) if (!seen.has(name)) store.rows.delete(name);
  seen = null;
  store.complete = true;
}

/** Seconds until it is due as of now, from what was last heard; null: never. */
export function left(row) {
  return row.left === null || row.left === undefined ? null : row.left - (now() - row.base);
}

/** Seconds since it was fed as of now. */
export const silence = (row) => row.silence + (now() - row.base);

/** Fed since its row was read, as no verdict came: its time left is not known at the moment. */
export const stale = (row) => row.state === "alive" && row.left !== null && left(row) < 0;

/** How many rows are in each state. */
export function counts() {
  const found = Object.fromEntries(Object.keys(STATES).map((state) => [state, 0]));
  for (const row of store.rows.values()) found[row.state] = (found[row.state] ?? 0) + 1;
  return found;
}

/** How bad the rows of a list are, for their places: one that gets worse moves at once, one that gets better a minute later. */
export class Places {
  constructor(ranks, well) {
    this.ranks = ranks;
    this.well = ranks[well];
    this.worst = new Map(); // by name, of rows that are or were bad: [rank, page time at which they were so last]
  }

  of({ name, state }) {
    const found = this.ranks[state] ?? -1;
    let [rank, last] = this.worst.get(name) ?? [found, now()];
    if (found <= rank || now() - last >= SETTLE_S) [rank, last] = [found, now()];
    if (rank < this.well) this.worst.set(name, [rank, last]);
    else this.worst.delete(name);
    return rank;
  }
}

const places = new Places(RANK, "alive");

/** All rows that got better stand where they belong now. */
export const settle = () => places.worst.clear();

const ORDERS = {
  state: (a, b) => a.place - b.place || a.order - b.order,
  name: (a, b) => a.order - b.order,
  timeout: (a, b) => a.timeout - b.timeout || a.order - b.order,
  incidents: (a, b) => b.incidents - a.incidents || a.order - b.order,
};

/** Whether a name matches a pattern with * ? [ as the supervisor understands it. */
export function matcher(pattern) {
  const source = pattern.replace(/\[(!?)(\]?[^\]]*)\]|[\s\S]/g, (all, not, set) => {
    if (set) return `[${not ? "^" : ""}${set.replace(/[\\\]^]/g, "\\$&")}]`;
    return { "*": ".*", "?": "." }[all] ?? all.replace(/[.+^${}()|\\[\]]/g, "\\$&");
  });
  return new RegExp(`^${source}$`);
}

/** The names that a group has as members: watched ones, the worst first, then those that are not watched. */
export function membersOf(row) {
  const listed = row.group.members ?? [];
  const patterns = listed.filter((each) => /[*?[]/.test(each)).map(matcher);
  const exact = new Set(listed.filter((each) => !/[*?[]/.test(each)));
  const watched = [...store.rows.values()].filter((each) => !each.group && (exact.has(each.name) || patterns.some((one) => one.test(each.name))));
  for (const each of watched) exact.delete(each.name);
  return [...watched.sort((a, b) => RANK[a.state] - RANK[b.state] || a.order - b.order).map((each) => each.name), ...exact];
}

/** Rows to show: of these states (empty: all), with `text` in their name or status, in this order. */
export function chosen({ states, text, order }) {
  if (!ordered) {
    const names = [...store.rows.keys()].sort(collator.compare);
    names.forEach((name, place) => {
      store.rows.get(name).order = place;
    });
    ordered = true;
  }
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = [];
  for (const row of store.rows.values()) {
    row.place = places.of(row);
    if (states.size && !states.has(row.state)) continue;
    if (words.length && !matches(row, words)) continue;
    found.push(row);
  }
  return found.sort(ORDERS[order] ?? ORDERS.state);
}

function matches(row, words) {
  const text = `${row.name} ${row.status ?? ""} ${row.incident?.reason ?? ""}`.toLowerCase();
  return words.every((word) => text.includes(word));
}
