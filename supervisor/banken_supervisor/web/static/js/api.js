// Requests to the web process, and the token that actions need.

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

/** Take the token out of an address such as /#token=…, so that no history has it. */
export function tokenFromAddress() {
  const found = /^#token=(.+)/.exec(location.hash);
  if (found === null) return false;
  keepToken(decode(found[1]));
  history.replaceState(null, "", `${location.pathname}${location.search}#/`);
  return true;
}

/** A decoded part of an address; where it is not encoded correctly, as it is. */
export function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The answer to GET, as data. Throws Fault. */
export const get = (path) => asked(path, { headers: { Accept: "application/json" } });

/** The answer to POST with the token. Throws Fault. */
export async function post(path, body = {}) {
  const given = token() ?? "";
  // A header cannot hold other characters, and no token has them: the request would fail as if there was no answer.
  if (!/^[\x20-\x7e]*$/.test(given)) throw new Fault(401, "the given token is not the right one");
  return asked(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${given}` },
    body: JSON.stringify(body),
  });
}

/** A watchdog's or a program's name in a path. */
export const part = (name) => encodeURIComponent(name);

async function asked(path, how) {
  let answer;
  try {
    answer = await fetch(path, { ...how, cache: "no-store", signal: AbortSignal.timeout(10_000) });
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
