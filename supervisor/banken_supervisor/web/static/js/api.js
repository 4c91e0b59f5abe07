// Requests to the web process, and the token that they need. It travels in a header of its own: a proxy may want
// Authorization for itself, and a cookie would go to every other port of the host as well.

const KEY = "banken-token";

/** What went wrong, for people; `status` 0: nothing answered. */
export class Fault extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** The token of this tab, or null. */
export function token() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return kept;
  }
}

let kept = null;

/** Store a token for as long as this tab is open; null: remove it. */
export function keepToken(value) {
  kept = value;
  try {
    if (value === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, value);
  } catch {
    // a browser that stores nothing: only this page has it
  }
}

/** Whether this can be a token. */
export const isToken = (text) => /^[\x21-\x7e]{16,512}$/.test(text);

/** Take the token out of an address such as /#token=…, so that no history has it. */
export function tokenFromAddress() {
  const found = /^#token=(.+)/.exec(location.hash);
  if (found === null) return false;
  const given = decode(found[1]);
  // A header cannot hold other characters, and no token has them.
  if (isToken(given)) keepToken(given);
  history.replaceState(null, "", `${location.pathname}${location.search}#/`);
  return isToken(given);
}

/** A decoded part of an address; where it is not encoded correctly, as it is. */
export function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The token as a header; without one, none: a proxy may add it. */
function signed() {
  const given = token();
  return given === null ? {} : { "X-Banken-Token": given };
}

let locked = () => {};

/** Have `listener` hear when reading is refused for want of the right token, with the reason. */
export function onLocked(listener) {
  locked = listener;
}

/** The event stream's body, by `signal` until it is aborted. Throws Fault, and what fetch throws. */
export async function openStream(signal) {
  const answer = await fetch("/api/v1/stream", { headers: { Accept: "text/event-stream", ...signed() }, cache: "no-store", signal });
  if (answer.ok) return answer.body;
  const { detail } = await answer.json();
  if (answer.status === 401) locked(detail);
  throw new Fault(answer.status, detail);
}

/** The answer to GET, as data. Throws Fault. */
export async function get(path) {
  try {
    return await asked(path, { headers: { Accept: "application/json" } });
  } catch (fault) {
    if (fault.status === 401) locked(fault.message);
    throw fault;
  }
}

/** The answer to POST. Throws Fault. */
export const post = (path, body = {}) =>
  asked(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

/** A watchdog's or a program's name in a path. */
export const part = (name) => encodeURIComponent(name);

async function asked(path, how) {
  let answer;
  try {
    const headers = { ...how.headers, ...signed() };
    answer = await fetch(path, { ...how, headers, cache: "no-store", signal: AbortSignal.timeout(10_000) });
  } catch {
    throw new Fault(0, "the web process does not answer");
  }
  let body = null;
  try {
    body = await answer.json();
  } catch {
    // what is no JSON tells no more than its status
  }
  if (!answer.ok) throw new Fault(answer.status, body?.detail ?? body?.error ?? `the web process answered ${answer.status}`);
  return body;
}
