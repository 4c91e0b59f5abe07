// Numbers and times for people.

/** Seconds in words: "4.2 s", "42 s", "4 m 20 s", "3 h 12 m", "4 d 2 h". */
export function duration(seconds) {
  if (typeof seconds !== "number" || !Number.isFinite(seconds)) return "–";
  const s = Math.abs(seconds);
  const sign = seconds < 0 ? "−" : "";
  if (s < 0.0995) return `${sign}${Math.round(s * 1000)} ms`;
  if (s < 9.95) return `${sign}${s.toFixed(1)} s`;
  if (s < 59.5) return `${sign}${Math.round(s)} s`;
  if (s < 3599.5) return sign + pair(Math.round(s), 60, "m", "s");
  if (s < 86370) return sign + pair(Math.round(s / 60), 60, "h", "m");
  return sign + pair(Math.round(s / 3600), 24, "d", "h");
}

/** A timeout or a grace: ten years mean that there is none. */
export const limit = (seconds) => (seconds >= 31_536_000 ? "none" : duration(seconds));

/** A duration with milliseconds below one second: where small differences matter. */
export const precise = (seconds) => (Math.abs(seconds) < 0.9995 ? `${Math.round(seconds * 1000)} ms` : duration(seconds));

function pair(units, per, large, small) {
  const rest = units % per;
  return rest ? `${Math.floor(units / per)} ${large} ${rest} ${small}` : `${units / per} ${large}`;
}

/** A whole number with its thousands set apart. */
export const count = (number) => Number(number).toLocaleString("en-US");

/** Bytes in words. */
export function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let place = 0;
  let left = Number(number);
  while (left >= 1024 && place < units.length - 1) {
    left /= 1024;
    place += 1;
  }
  return `${left < 10 && place ? left.toFixed(1) : Math.round(left)} ${units[place]}`;
}

/** The time of day here, with the day unless that is today. Unix seconds. */
export function clock(time, parts = false) {
  const date = new Date(time * 1000);
  const two = (n) => String(n).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const hour = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  const exact = parts ? `.${String(date.getMilliseconds()).padStart(3, "0")}` : "";
  const today = new Date().toDateString() === date.toDateString();
  return today ? hour + exact : `${day} ${hour}${exact}`;
}

/** The same moment in UTC, exactly. */
export const utc = (time) => new Date(time * 1000).toISOString().replace("T", " ").replace("Z", " UTC");

/** "1 incident", "2 incidents". */
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** Causes in words. */
export const CAUSES = {
  timeout: "not fed in time",
  grace: "never fed",
  failed: "reported a failure",
  exited: "its process ended",
  "no-progress": "fed, but no progress",
  "too-fast": "fed too often",
  "check": "check failed",
  "too-few": "too few members alive",
};

/** One line of a reason: of a traceback the exception, else the first line. */
export function gist(reason) {
  const lines = reason.split("\n").filter((line) => line.trim());
  const head = lines.lastIndexOf("Traceback (most recent call last):");
  if (head < 0 && !reason.startsWith("…")) return lines[0] ?? "";
  return lines.slice(head + 1).find((line, place) => !line.startsWith(" ") && (head >= 0 || place)) ?? lines.at(-1) ?? "";
}

/** The state of an incident as a picture and a colour, and in words. */
export function standing({ closed, how }) {
  if (closed !== null) return ["done", ENDS[how] ?? how];
  return how === "given-up" ? ["given-up", "given up"] : ["expired", "open"];
}

/** How an incident ended. */
export const ENDS = {
  fed: "recovered: fed again",
  passed: "recovered: the check passed",
  ready: "recovered: it is ready",
  "enough alive": "recovered: enough members are alive",
  paused: "closed: paused",
  released: "closed: released",
  reborn: "closed: another process took over",
  stopped: "closed: its program was stopped",
  forgotten: "closed: no longer watched",
  lost: "closed: lost when the supervisor restarted",
};
