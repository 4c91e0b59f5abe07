// Groups and their members.

import { part } from "./api.js";
import { $, fill, h, icon, setText, show, throttled } from "./dom.js";
import { count } from "./format.js";
import { unjudged } from "./list.js";
import { membersOf, on, STATES, store } from "./store.js";

const MEMBERS_SHOWN = 50;

let shown = "";

/** Begin. */
export function startGroups() {
  fill($("view-groups"), h("h1", {}, "Groups"), h("p", { class: "soft" }, "Loading…"));
  on("rows", throttled(paint, 500));
  addEventListener("hashchange", paint);
}

function paint() {
  const groups = [...store.rows.values()].filter((row) => row.group).sort((a, b) => a.order - b.order);
  show($("tab-groups"), groups.length > 0 || location.hash === "#/groups");
  setText($("number-groups"), groups.length ? String(groups.length) : "");
  if ($("view-groups").hidden || !store.complete) return;
  const key = JSON.stringify(groups.map((row) => [row.name, row.state, row.group, row.incident?.id, states(membersOf(row))]));
  if (key === shown) return;
  shown = key;
  const focused = document.activeElement?.getAttribute("href");
  fill(
    $("view-groups"),
    h("h1", {}, "Groups"),
    groups.length ? groups.map(group) : h("p", { class: "soft" }, "No groups. Declare them as [[group]] in the config."),
  );
  if (focused) $("view-groups").querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
}

const states = (names) => names.slice(0, MEMBERS_SHOWN).map((name) => [name, store.rows.get(name)?.state]);

function group(row) {
  const badge = h("p", { class: `badge ${row.state}` }, icon(row.state), h("span", { class: "word" }, STATES[row.state] ?? row.state));
  const names = membersOf(row);
  return h(
    "section",
    { class: "card", data: { group: row.name } },
    h("div", { class: "page-head" }, h("h2", {}, h("a", { href: `#/watchdog/${part(row.name)}` }, row.name)), badge),
    h(
      "p",
      { class: "soft" },
      `${row.group.alive} of ${names.length} up (alive or paused), at least ${row.group.at_least} needed`,
      unjudged(row) && `; ${unjudged(row)}`,
      row.incident ? [". ", h("a", { href: `#/incident/${part(row.incident.id)}` }, "Open incident")] : null,
    ),
    list(names),
  );
}

function list(names) {
  const more = names.length - MEMBERS_SHOWN;
  return h(
    "ul",
    { class: "members" },
    names.slice(0, MEMBERS_SHOWN).map((name) => {
      const row = store.rows.get(name);
      return h(
        "li",
        { class: row?.state ?? "waiting" },
        icon(row?.state ?? "waiting"),
        row ? h("a", { href: `#/watchdog/${part(name)}` }, name) : h("span", {}, name),
        h("span", { class: "soft" }, row ? (STATES[row.state] ?? row.state) : "not watched"),
      );
    }),
    more > 0 ? h("li", { class: "soft" }, `${count(more)} more`) : null,
  );
}

/** The members of the group `row` in `place`; empty for other rows. */
export function paintMembers(place, row) {
  const names = row.group ? membersOf(row) : [];
  const key = JSON.stringify(states(names));
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  fill(place, names.length ? list(names) : null);
}
