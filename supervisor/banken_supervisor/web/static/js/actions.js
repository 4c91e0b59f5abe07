// What the buttons do: each asks first and says what will happen, then reports the result.

import { part, post } from "./api.js";
import { ask, askToken, toast } from "./dialogs.js";
import { h, icon } from "./dom.js";
import { duration } from "./format.js";

const CHOICES = [
  ["10 minutes", 600],
  ["1 hour", 3600],
  ["8 hours", 28_800],
  ["Until resumed", null],
];
const UNITS = { s: 1, m: 60, h: 3600, d: 86_400 };

/** A button with a picture. */
export const button = (picture, label, click, kind = "plain") =>
  h("button", { type: "button", class: kind, on: { click } }, icon(picture), h("span", {}, label));

/** Pause a watchdog. */
export async function pause(name) {
  const own = h("input", { type: "text", id: "own", placeholder: "for example 45m, 1h30m, 2d", "aria-label": "Another duration", maxlength: "20", autocomplete: "off" });
  const radio = (label, value, checked) =>
    h("label", { class: "choice" }, h("input", { type: "radio", name: "for", value: String(value), checked }), label);
  const other = radio("Another:", "own", false);
  own.addEventListener("input", () => (other.firstChild.checked = true));
  const choices = h("fieldset", {}, h("legend", {}, "For how long"), CHOICES.map(([label, value]) => radio(label, value, value === 3600)), h("div", { class: "own" }, other, own));
  const found = await ask({
    title: `Pause ${name}?`,
    body: [h("p", {}, "While it is paused, silence opens no incident. An open incident is closed. Feeds are still accepted."), choices],
    yes: "Pause",
    answer: () => {
      const value = choices.querySelector("input:checked").value;
      return { seconds: value === "null" ? null : value === "own" ? parse(own.value) : Number(value) };
    },
  });
  if (found === null) return;
  const { seconds } = found;
  await act(`/api/v1/watchdogs/${part(name)}/pause`, seconds === null ? {} : { seconds }, `${name} is paused ${seconds === null ? "until it is resumed" : `for ${duration(seconds)}`}.`);
}

/** Seconds of "90s", "45m", "1h30m"; an Error says what is allowed. */
export function parse(text) {
  const tidy = text.trim().toLowerCase().replaceAll(" ", "");
  if (!/^(\d+(\.\d+)?[smhd])+$/.test(tidy)) throw new Error("A duration is a number with s, m, h or d: 90s, 45m, 1h30m, 2d.");
  let sum = 0;
  for (const [, number, unit] of tidy.matchAll(/(\d+(?:\.\d+)?)([smhd])/g)) sum += Number(number) * UNITS[unit];
  if (sum < 0.001 || sum > 315_360_000) throw new Error("A pause is from 1 ms to ten years long.");
  return sum;
}

/** Resume a watchdog. */
export const resume = (name) => act(`/api/v1/watchdogs/${part(name)}/resume`, {}, `${name} is resumed, with a full timeout.`);

/** Stop watching it. */
export async function release(name) {
  const sure = await ask({
    title: `Release ${name}?`,
    body: h("p", {}, "It is no longer watched and disappears from the list. The next feed brings it back."),
    yes: "Release",
    danger: true,
  });
  if (sure) await act(`/api/v1/watchdogs/${part(name)}/release`, {}, `${name} is released.`);
}

/** Start, stop or restart a program. */
export async function program(what, name, pid) {
  const process = pid ? `Its process (pid ${pid})` : "Its process";
  const texts = {
    start: "Its process is started.",
    stop: `${process} gets its stop signal, and SIGKILL if it does not end in time. It stays stopped until it is started again, and is not watched until then.`,
    restart: `${process} gets its stop signal, and SIGKILL if it does not end in time; then a new one is started.`,
  };
  const word = what[0].toUpperCase() + what.slice(1);
  const sure = await ask({ title: `${word} ${name}?`, body: h("p", {}, texts[what]), yes: word, danger: what !== "start" });
  if (sure) await act(`/api/v1/programs/${part(name)}/${what}`, {}, `${name}: ${what} requested.`);
}

async function act(path, body, done) {
  try {
    await post(path, body);
    toast(done);
  } catch (fault) {
    if (fault.status !== 401) toast(`Failed: ${fault.message}`, { bad: true });
    else if (await askToken(fault.message)) await act(path, body, done);
  }
}
