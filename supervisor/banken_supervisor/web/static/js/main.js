// The page put together: views by address, keys, and the header.

import { pause, resume } from "./actions.js";
import { decode, keepToken, onLocked, token, tokenFromAddress } from "./api.js";
import { clusterWords } from "./cluster.js";
import { showDetail, shownName, startDetail } from "./detail.js";
import { askHelp, asking, askToken, showToken, toast } from "./dialogs.js";
import { $, fill, h, icon, show } from "./dom.js";
import { duration, plural } from "./format.js";
import { startGroups } from "./groups.js";
import { showIncident, showIncidents, startIncidents, toggleViews } from "./incidents.js";
import { current, focusRow, markOpen, move, startList } from "./list.js";
import { startPrograms } from "./programs.js";
import { now, on, store } from "./store.js";
import { connect, disconnect, link as tell } from "./stream.js";

const TITLES = { watchdogs: "banken", groups: "Groups – banken", programs: "Programs – banken", incidents: "Incidents – banken", incident: "Incident – banken" };
const TABS = { watchdogs: "watchdogs", groups: "groups", programs: "programs", incidents: "incidents", incident: "incidents" };
const LOST_MS = 1500; // a connection that is back sooner is no news

// -- views -------------------------------------------------------------------------------------------

function route() {
  if (tokenFromAddress()) {
    showToken();
    toast("Token stored in this tab.");
  }
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [first, ...rest] = path.split("/");
  const what = decode(rest.join("/"));
  const view = first === "watchdog" || !Object.hasOwn(TABS, first) ? "watchdogs" : first;
  for (const each of ["watchdogs", "groups", "programs"]) show($(`view-${each}`), each === view);
  toggleViews(view);
  for (const each of new Set(Object.values(TABS))) {
    if (TABS[view] === each) $(`tab-${each}`).setAttribute("aria-current", "page");
    else $(`tab-${each}`).removeAttribute("aria-current");
  }
  const name = first === "watchdog" && what ? what : null;
  const before = shownName();
  showDetail(name);
  markOpen(name);
  if (name !== null && name !== before) $("panel").querySelector("h2").focus({ preventScroll: true });
  if (name === null && before !== null && view === "watchdogs") focusRow(before);
  showIncidents(view === "incidents" ? { name: new URLSearchParams(query).get("name") } : null);
  showIncident(view === "incident" ? what : null);
  if (view !== "watchdogs") $("main").scrollTop = 0;
  document.title = name === null ? TITLES[view] : `${name} – banken`;
}

const go = (hash) => {
  location.hash = hash;
};

// -- keys --------------------------------------------------------------------------------------------

let led = 0; // when g was pressed

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || asking()) return;
  const typing = event.target.matches("input, textarea, select");
  if (event.key === "Escape") {
    escape(typing);
    return;
  }
  if (typing) {
    if (event.target === $("search") && (event.key === "ArrowDown" || event.key === "Enter")) {
      event.preventDefault();
      move(0);
    }
    return;
  }
  const act = led && now() - led < 1.5 ? LED[event.key] : KEYS[event.key];
  led = event.key === "g" ? now() : 0;
  if (act === undefined) return;
  if (act(event) !== false) event.preventDefault();
}

const inList = () => !$("view-watchdogs").hidden;
const moves = (places) => () => (inList() ? move(places) : false);

const KEYS = {
  j: moves(1),
  k: moves(-1),
  ArrowDown: (event) => (event.target.matches("summary, pre") ? false : moves(1)()),
  ArrowUp: (event) => (event.target.matches("summary, pre") ? false : moves(-1)()),
  PageDown: (event) => (event.target.closest("#scroll") ? moves(15)() : false),
  PageUp: (event) => (event.target.closest("#scroll") ? moves(-15)() : false),
  Home: (event) => (event.target.closest("#scroll") ? moves(-Infinity)() : false),
  End: (event) => (event.target.closest("#scroll") ? moves(Infinity)() : false),
  "/": () => {
    go("/");
    requestAnimationFrame(() => $("search").select());
  },
  "?": () => askHelp(),
  p: () => {
    const row = store.rows.get(shownName() ?? (inList() ? current() : null));
    if (row === undefined) return false;
    return row.state === "paused" ? resume(row.name) : pause(row.name);
  },
};

const LED = { w: () => go("/"), p: () => go("/programs"), i: () => go("/incidents") };

function escape(typing) {
  if (typing && $("search").value) {
    $("search").value = "";
    $("search").dispatchEvent(new Event("input"));
  } else if (typing) document.activeElement.blur();
  else if (shownName() !== null) go("/");
  else if (location.hash.startsWith("#/incident/")) go("/incidents");
}

// -- the header --------------------------------------------------------------------------------------

function facts() {
  const { summary, link } = store;
  if (summary === null) return fill($("facts"), { loading: "connecting…", locked: "locked" }[link] ?? "");
  const journal = summary.journal;
  const stalls = summary.stalls ? `${plural(summary.stalls, "stall")}, ${duration(summary.lost)} lost` : "no stalls";
  const uptime = summary.uptime + (now() - store.summaryAt);
  return fill(
    $("facts"),
    h("span", { class: link === "up" ? "good" : "bad" }, icon(link === "up" ? "alive" : "expired"), link === "up" ? `up ${duration(uptime)}` : "down"),
    h("span", { class: summary.stalls ? "warn" : "", title: "Time that the supervisor itself lost; it counts towards no timeout" }, stalls),
    h("span", { class: journal !== null && journal.state !== "ok" ? "bad" : "", title: journal?.reason || journal?.path || "" }, journal === null ? "no journal" : `journal ${journal.state}`),
    cluster(summary.cluster),
    h("span", { class: "far" }, `${plural(summary.messages, "message")}, pid ${summary.pid}, ${summary.version}`),
  );
}

function cluster(found) {
  if (!found) return null;
  const { text, bad, title } = clusterWords(found);
  return h("span", { class: bad ? "bad" : "", title }, text);
}

let lostTimer = 0;

function link() {
  clearTimeout(lostTimer);
  if (store.link === "lost" && $("banner").hidden) lostTimer = setTimeout(banner, LOST_MS);
  else banner();
  facts();
}

function banner() {
  const texts = {
    down: ["The supervisor is down. ", store.error],
    lost: ["The connection to the web process is lost. Reconnecting… "],
    locked: ["The page is locked: ", "it needs the token. Click “No token” to enter it."],
  };
  const text = texts[store.link];
  show($("banner"), text !== undefined);
  document.body.classList.toggle("stale", text !== undefined);
  if (text === undefined) return;
  const heard = store.heard ? ` The data shown is ${duration(now() - store.heard)} old.` : "";
  fill($("banner"), icon("expired"), h("span", {}, h("strong", {}, text[0]), text[1] ?? "", store.rows.size ? heard : ""));
}

// -- the token ---------------------------------------------------------------------------------------

onLocked((reason) => {
  if (store.link === "locked") return;
  disconnect();
  keepToken(null);
  showToken();
  tell("locked", reason);
  askToken(reason);
});

on("token", () => {
  tell("loading", "");
  showDetail(null); // so that what could not be read is read now
  route();
  connect();
});

// -- begin -------------------------------------------------------------------------------------------

fill($("help-button"), icon("help"));
$("help-button").addEventListener("click", () => askHelp());
$("token-button").addEventListener("click", () => {
  if (token() === null) return askToken(store.link === "locked" ? store.error : "");
  keepToken(null);
  return location.reload(); // what it showed goes, too
});
$("skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("main").focus();
});
addEventListener("hashchange", route);
addEventListener("keydown", key);
on("link", link);
on("summary", facts);
setInterval(() => store.link !== "up" && !$("banner").hidden && banner(), 5000);
showToken();
startList((name) => go(`/watchdog/${encodeURIComponent(name)}`));
startDetail();
startPrograms();
startGroups();
startIncidents();
route();
facts();
connect();
