// One watchdog, beside the list: its actions, status, gaps and incidents.

import { button, pause, program, release, resume } from "./actions.js";
import { get, part } from "./api.js";
import { GapChart } from "./chart.js";
import { $, fill, h, icon, setIcon, setText, show, throttled } from "./dom.js";
import { CAUSES, clock, count, duration, limit, plural, utc } from "./format.js";
import { remaining, unjudged } from "./list.js";
import { paintMembers } from "./groups.js";
import { programNamed } from "./programs.js";
import { now, on, silence, STATES, store, take } from "./store.js";
import { incidentLine } from "./timeline.js";

const LOOK_MS = 1000;
const INCIDENTS_SHOWN = 8;

let open = null;

/** Begin. */
export function startDetail() {
  setInterval(() => open?.look(), LOOK_MS);
  setInterval(() => open?.tick(), 200);
  on("rows", () => open?.changed());
  on("event", (event) => open !== null && event.name === open.name && open.happened());
  on("programs", () => open?.buttons());
}

/** Show this watchdog; null: none. */
export function showDetail(name) {
  if (open?.name === name) return;
  open?.close();
  open = name === null ? null : new Detail(name);
  show($("panel"), open !== null);
  $("split").classList.toggle("with-panel", open !== null);
}

/** Which one is shown. */
export const shownName = () => open?.name ?? null;

class Detail {
  constructor(name) {
    this.name = name;
    this.row = store.rows.get(name) ?? null;
    this.icon = icon("waiting");
    this.word = h("span", { class: "word" });
    this.badge = h("p", { class: "badge" }, this.icon, this.word);
    this.left = h("p", { class: "big" });
    this.actions = h("div", { class: "actions" });
    this.now = h("div", { class: "now" });
    this.facts = h("dl", { class: "facts-list" });
    this.gaps = h("div", { class: "gaps" });
    this.kept = h("div", { class: "kept" });
    this.members = h("div", {});
    this.title = h("h2", { tabindex: "-1" }, name);
    this.gone = h("p", { class: "fault", hidden: true }, "No watchdog has this name (any more).");
    this.gapsTitle = h("h3", {}, "Gaps between feeds");
    fill(
      $("panel"),
      h("div", { class: "panel-head" }, this.title, h("a", { class: "quiet", href: "#/", "aria-label": "Close", title: "Close (Esc)" }, icon("close"))),
      this.gone,
      h("div", { class: "state-line" }, this.badge, this.left),
      this.actions, // before the texts: however long these are, the buttons stay in view
      this.now,
      this.members,
      this.gapsTitle,
      this.gaps,
      h("h3", {}, "Declared"),
      this.facts,
      h("h3", {}, "Incidents"),
      this.kept,
    );
    this.chart = null;
    this.happened = throttled(() => open === this && this.history(), 1000);
    this.paint();
    this.load();
    this.history();
  }

  close() {
    this.chart?.close();
    fill($("panel"));
  }

  /** The first look: with the last feeds and the proposed timeout. */
  async load() {
    try {
      const found = await get(`/api/v1/watchdogs/${part(this.name)}`);
      if (open !== this) return;
      this.suggestion = found.suggestion;
      this.fresh(found);
    } catch (fault) {
      if (open === this && fault.status === 404) this.lost();
    }
  }

  async look() {
    if (document.hidden || store.link !== "up" || this.looking || $("view-watchdogs").hidden) return;
    this.looking = true;
    try {
      const found = await get(`/api/v1/look?feeds=1&names=${part(this.name)}`);
      if (open !== this) return;
      if (found.rows.length) this.fresh(found.rows[0]);
      else this.lost();
    } catch {
      // the next second looks again
    } finally {
      this.looking = false;
    }
  }

  fresh(row) {
    if (store.rows.has(row.name)) take([row]);
    else row.base = now();
    this.row = row;
    show(this.gone, false);
    const grouped = Boolean(row.group || row.check);
    for (const each of [this.gaps, this.gapsTitle]) show(each, !grouped);
    if (!grouped) {
      this.chart ??= new GapChart(this.gaps, row.timeout);
      this.chart.timeout = row.timeout;
      this.chart.add(row.feeds ?? [], now(), silence(row));
    }
    this.paint();
  }

  lost() {
    show(this.gone, true);
    this.row = null;
    this.paint();
  }

  changed() {
    const row = store.rows.get(this.name);
    if (row === undefined || (row === this.row && !row.group)) return;
    this.row = row;
    this.paint();
  }

  paint() {
    const { row } = this;
    show(this.badge, row !== null);
    this.tick();
    this.buttons();
    if (row === null) return;
    this.badge.className = `badge ${row.state}`;
    setIcon(this.icon, row.state);
    setText(this.word, STATES[row.state] ?? row.state);
    this.say(row);
    paintMembers(this.members, row);
    this.declared(row);
  }

  say(row) {
    const key = JSON.stringify([row.state, row.status, row.progress, row.incident?.id, row.incident?.blamed, row.incident?.reason, row.group, row.result?.text, row.result?.passed]);
    if (key === this.said) return;
    this.said = key;
    const about = row.incident;
    fill(
      this.now,
      row.status === undefined ? null : h("p", { class: "said" }, h("span", { class: "label" }, "Status"), h("span", { class: "text" }, row.status)),
      row.progress === undefined ? null : h("p", { class: "said" }, h("span", { class: "label" }, "Progress"), h("span", { class: "text" }, String(row.progress))),
      about
        ? h(
            "div",
            { class: "why" },
            h("p", {}, h("strong", {}, CAUSES[about.cause] ?? about.cause), about.blamed ? `, because of ${about.blamed}` : "", row.state === "given-up" ? ". Given up: nothing more is done about it until it is fed or started again" : ""),
            about.reason ? h("pre", {}, about.reason) : null,
            h("a", { href: `#/incident/${part(about.id)}` }, "Timeline and evidence"),
          )
        : null,
      row.check ? h("p", { class: "said" }, h("span", { class: "label" }, "Check"), h("span", { class: "text" }, row.result ? `${row.check} ${row.result.passed ? "passed" : "failed"}: ${row.result.text}` : `${row.check}: no result yet`)) : null,
      row.group ? h("p", { class: "said" }, h("span", { class: "label" }, "Members"), h("span", { class: "text" }, `${row.group.alive} up (alive or paused), at least ${row.group.at_least} needed`)) : null,
    );
  }

  declared(row) {
    const proposed = this.suggestion?.proposed;
    const facts = [
      row.group ? null : ["Timeout", limit(row.timeout) + (row.by === "default" ? ", the default" : "") + (unjudged(row) && `: ${unjudged(row)}`) + (proposed ? ` (suggested: ${duration(proposed)})` : "")],
      ["Grace", limit(row.grace)],
      ["Repeats every", duration(row.interval)],
      ["Declared by", row.by],
      row.group ? null : ["Process", row.pid === null ? "none" : `pid ${row.pid}` + (row.key ? ` on ${row.host ?? "another host"}, key ${row.key}` : "")],
      row.check ? ["Check of", row.check_of] : null,
      row.result ? ["Last run took", duration(row.result.took)] : null,
      row.result && row.result.next !== null ? ["Runs again in", duration(Math.max(0, row.result.next))] : null,
      ["Incidents", count(row.incidents)],
    ].filter(Boolean);
    const key = JSON.stringify(facts);
    if (key === this.told) return;
    this.told = key;
    fill(this.facts, facts.map(([what, value]) => h("div", {}, h("dt", {}, what), h("dd", {}, value))));
  }

  tick() {
    const { row } = this;
    if (row === null) return setText(this.left, "");
    if (store.link !== "up") return undefined;
    const [text] = remaining(row);
    return setText(this.left, row.state === "alive" || row.state === "waiting" ? text && `${text} left` : text);
  }

  buttons() {
    const { row, name } = this;
    const runs = programNamed(name);
    const key = JSON.stringify([row?.state === "paused", row !== null, runs?.state, runs?.pid, Boolean(row?.group)]);
    if (key === this.offered) return;
    this.offered = key;
    fill(
      this.actions,
      row === null ? null : row.state === "paused" ? button("resume", "Resume", () => resume(name), "main") : button("pause", "Pause", () => pause(name)),
      runs?.pid ? button("restart", "Restart", () => program("restart", name, runs.pid)) : null,
      runs && !runs.pid ? button("resume", "Start", () => program("start", name, null)) : null,
      row === null || row.group ? null : button("release", "Release", () => release(name)),
    );
  }

  /** What the journal has of it. */
  async history() {
    try {
      const found = await get(`/api/v1/watchdogs/${part(this.name)}/history`);
      if (open === this) this.keep(found);
    } catch (fault) {
      if (open === this) fill(this.kept, h("p", { class: "soft" }, fault.status === 404 ? "The journal has nothing about it yet." : `Could not be read: ${fault.message}`));
    }
  }

  keep(found) {
    const share = (value) => value === null ? "-" : value === 1 ? "100 %"
      : `${(100 * value).toFixed(value > 0.9995 ? 3 : 1)} %`;
    fill(
      this.kept,
      found.uptime
        ? h("p", { class: "soft", title: `Recorded since ${utc(found.known_since)}` }, "Uptime ", windows(found).map(([window, value], place) => `${place ? ", " : ""}${share(value)} (${LABELS[window] ?? window})`), `; recorded since ${clock(found.known_since)}`)
        : null,
      found.incidents.length
        ? h("ul", { class: "incident-lines" }, found.incidents.slice(0, INCIDENTS_SHOWN).map((each) => h("li", {}, incidentLine(each, false))))
        : h("p", { class: "soft" }, "None."),
      found.incidents.length > INCIDENTS_SHOWN ? h("p", {}, h("a", { href: `#/incidents?name=${part(this.name)}` }, `All ${plural(found.incidents.length, "incident")}`)) : null,
      found.problems.map((problem) => h("p", { class: "fault" }, `Unreadable: ${problem}`)),
    );
  }
}

const LABELS = { "24h": "24 h", "7d": "7 d", "30d": "30 d" };
const LENGTHS = { "24h": 86_400, "7d": 604_800, "30d": 2_592_000 };

/** The windows of time, without those that begin before the record does: they would repeat the one before. */
function windows(found) {
  const known = Date.now() / 1000 - found.known_since;
  const all = Object.entries(found.uptime);
  return all.filter((each, place) => place === 0 || known > (LENGTHS[all[place - 1][0]] ?? 0));
}
