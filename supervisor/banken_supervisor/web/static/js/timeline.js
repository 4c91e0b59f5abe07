// Incidents in words: a line in a list, and the events of a timeline.

import { part } from "./api.js";
import { h, icon } from "./dom.js";
import { CAUSES, clock, duration, ENDS, gist, standing, utc } from "./format.js";

/** A time, with the same moment in UTC as its tooltip. */
export const moment = (time, parts = false) => h("time", { datetime: new Date(time * 1000).toISOString(), title: utc(time) }, clock(time, parts));

/** One incident as a link. */
export function incidentLine(each, named = true) {
  const [picture, words] = standing(each);
  return h(
    "a",
    { href: `#/incident/${part(each.id)}`, class: `incident-line ${picture}` },
    icon(picture),
    named ? h("span", { class: "whose" }, each.name) : null,
    h("span", { class: "cause" }, CAUSES[each.cause] ?? each.cause),
    h("span", { class: "reason" }, each.reason ? gist(each.reason) : (each.status ?? "")),
    h("span", { class: "when" }, moment(each.opened)),
    h("span", { class: "lasted" }, each.closed === null ? words : duration(each.closed - each.opened)),
  );
}

const REPEATED = "callback-repeated";
const DUE = new Set(["timeout", "grace", "no-progress"]); // causes that have a deadline

/** Events with runs of the same callback, many in a row, folded into one line. */
export function folded(events) {
  const found = [];
  for (const event of events) {
    const last = found.at(-1);
    if (event.type === REPEATED && last?.type === REPEATED) found[found.length - 1] = { ...event, first: last.first ?? last.run };
    else found.push(event);
  }
  return found;
}

const LEFT_OUT = new Set(["incident", "seq", "time", "type", "name", "timeout", "age", "pid", "what"]);

/** One event: [picture, kind, sentence, the rest of its text]. */
export function told(event) {
  const tail = (text) => {
    const [first, ...rest] = String(text ?? "").trim().split("\n");
    return [first, rest.join("\n")];
  };
  switch (event.type) {
    case "expired":
      return ["expired", "bad", `Verdict: ${CAUSES[event.cause] ?? event.cause}${DUE.has(event.cause) ? `; silent for ${duration(event.silence)}, ${duration(event.late)} after its deadline` : ""}`, event.reason ?? ""];
    case REPEATED:
      return ["expired", "bad", `Still so after ${duration(event.age)}: callback ${event.first ? `runs ${event.first} to` : "run"} ${event.run}`, ""];
    case "action":
      return ["action", "", `Step ${event.step + 1}: ${event.do} begins${event.level ? ` (${event.level})` : ""}${event.run > 1 ? `, run ${event.run}` : ""}`, ""];
    case "would-act":
      return ["action", "", `Step ${event.step + 1}: ${event.do} would begin (observe only)`, ""];
    case "recovered":
      return ["alive", "good", `Recovered after ${duration(event.lasted)}`, ""];
    case "closed":
      return ["note", "", `${ENDS[event.how] ?? `closed: ${event.how}`}, after ${duration(event.lasted)}`, ""];
    case "given-up":
      return ["given-up", "bad", `Given up after ${duration(event.lasted)}: a budget is used up, and nothing more is done. It stays open`, ""];
    case "exited":
      return ["stopped", "bad", "Its process ended", ""];
    case "program":
      return ["running", "", `Program ${String(event.what).replace("program-", "").replaceAll("-", " ")}${rest(event)}`, ""];
    default: {
      const how = /^(action|callback)-(.*)$/.exec(event.type);
      if (how === null) return ["note", "", `${event.type.replaceAll("-", " ")}${rest(event)}`, ""];
      const [first, more] = tail(event.text);
      const took = event.seconds ? ` in ${duration(event.seconds)}` : "";
      const kind = how[2] === "done" ? "good" : "bad";
      return [how[2] === "done" ? "done" : "expired", kind, `${event.do ?? "callback"} ${how[2]}${took}${first ? `: ${first}` : ""}`, more];
    }
  }
}

function rest(event) {
  const parts = [];
  for (const [key, value] of Object.entries(event)) {
    if (LEFT_OUT.has(key) || value === null || typeof value === "object") continue;
    const text = typeof value === "number" && !Number.isInteger(value) ? value.toFixed(3) : String(value);
    parts.push(`${key} ${text.slice(0, 200)}`);
  }
  return parts.length ? `: ${parts.join(", ")}` : "";
}
