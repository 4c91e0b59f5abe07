// Questions, and short messages.

import { isToken, keepToken, token } from "./api.js";
import { $, fill, h, icon } from "./dom.js";
import { emit } from "./store.js";

const TOAST_MS = 6000;

/** A short message; faults stay until they are closed. */
export function toast(text, { bad = false } = {}) {
  const close = h("button", { type: "button", class: "quiet", "aria-label": "Close this message" }, icon("close"));
  const note = h("div", { class: bad ? "toast bad" : "toast" }, icon(bad ? "expired" : "done"), h("span", {}, text), close);
  close.addEventListener("click", () => note.remove());
  $("toasts").append(note);
  while ($("toasts").children.length > 4) $("toasts").firstChild.remove();
  if (!bad) setTimeout(() => note.remove(), TOAST_MS);
}

/** Whether a question is being asked. */
export const asking = () => document.querySelector("dialog[open]") !== null;

/** Ask. `body`: what stands in the dialog; the promise gives what `answer()` gives, or null when it is closed. */
export function ask({ title, body, yes, danger = false, answer = () => true }) {
  return new Promise((resolve) => {
    let given = null;
    const fault = h("p", { class: "fault", role: "alert", hidden: true });
    const form = h(
      "form",
      { method: "dialog" },
      h("h2", { id: "dialog-title" }, title),
      body,
      fault,
      h(
        "div",
        { class: "answers" },
        h("button", { type: "button", class: "plain", on: { click: () => dialog.close() } }, yes ? "Cancel" : "Close"),
        yes ? h("button", { type: "submit", class: danger ? "main danger" : "main" }, yes) : null,
      ),
    );
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, form);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      try {
        given = answer();
      } catch (wrong) {
        fault.hidden = false;
        fill(fault, wrong.message);
        return;
      }
      dialog.close();
    });
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(given);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** A text of the web process, its commands set apart. */
const withCommands = (text) => text.split("`").map((each, place) => (place % 2 ? h("code", { class: "command" }, each) : each));

let asked = null;

/** Ask for the token; whether one was given. `why`: what the web process said. */
export function askToken(why = "") {
  asked ??= askOnce(why).finally(() => (asked = null));
  return asked;
}

async function askOnce(why) {
  const input = h("input", { type: "password", id: "token", autocomplete: "off", spellcheck: "false", maxlength: "512" });
  const given = await ask({
    title: "The token",
    body: [
      h("p", {}, withCommands(why ? `${why[0].toUpperCase()}${why.slice(1).split("; ")[0]}.` : "The page needs the token of the web process.")),
      h("label", { for: "token" }, "Token"),
      input,
      h("p", { class: "soft" }, "Stored in this tab until you close it."),
    ],
    yes: "Use it",
    answer: () => {
      const value = input.value.trim();
      if (!isToken(value)) throw new Error("A token has 16 to 512 visible ASCII characters and no space.");
      return value;
    },
  });
  if (given === null) return false;
  keepToken(given);
  showToken();
  emit("token");
  return true;
}

/** Show whether there is a token. */
export function showToken() {
  const there = token() !== null;
  fill($("token-button"), icon(there ? "unlock" : "lock"), h("span", {}, there ? "Token" : "No token"));
  $("token-button").title = there ? "This tab has the token. Click to remove it." : "Click to enter the token.";
}

/** The keys. */
export function askHelp() {
  const keys = [
    ["j k, arrows", "next, previous watchdog"],
    ["Enter", "open it"],
    ["Esc", "close it; clear the search"],
    ["/", "search"],
    ["p", "pause the watchdog, or resume it"],
    ["g w, g p, g i", "watchdogs, programs, incidents"],
    ["?", "these keys"],
  ];
  return ask({
    title: "Keys",
    body: h("dl", { class: "keys" }, keys.map(([key, what]) => [h("dt", {}, key.split(", ").map((each, place) => [place ? ", " : "", h("kbd", {}, each)])), h("dd", {}, what)])),
  });
}
