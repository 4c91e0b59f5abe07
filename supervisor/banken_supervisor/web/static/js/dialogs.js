// Questions, and short messages.

import { get, keepToken, token } from "./api.js";
import { $, fill, h, icon } from "./dom.js";

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

/** Where the token is, in words. */
async function tokenPlace() {
  try {
    const { token_file: file } = await get("/api/v1/summary");
    if (file === null) return ["It is what ", h("code", {}, "$BANKEN_TOKEN"), " was when ", h("code", {}, "banken web"), " was started"];
    return ["On the supervisor’s host this command prints it: ", h("code", { class: "command" }, `cat ${/^[\w./@:+-]+$/.test(file) ? file : `'${file.replaceAll("'", "'\\''")}'`}`)];
  } catch {
    return ["It is in the file ", h("code", {}, "web-token"), " in the supervisor’s directory"];
  }
}

/** Ask for the token; whether there is one afterwards. */
export async function askToken(why = "") {
  const place = await tokenPlace();
  const input = h("input", { type: "password", id: "token", autocomplete: "off", spellcheck: "false", maxlength: "512" });
  const given = await ask({
    title: "The token",
    body: [
      why ? h("p", {}, why) : null,
      h("p", {}, "Actions need the token. ", place, "."),
      h("label", { for: "token" }, "Token"),
      input,
      h("p", { class: "soft" }, "Stored in this tab until you close it."),
    ],
    yes: "Use it",
    answer: () => {
      const value = input.value.trim();
      if (!/^[\x21-\x7e]{16,512}$/.test(value)) throw new Error("A token has 16 to 512 visible ASCII characters and no space.");
      return value;
    },
  });
  if (given !== null) keepToken(given);
  showToken();
  return given !== null;
}

/** Show whether there is a token. */
export function showToken() {
  const there = token() !== null;
  const text = there ? "Unlocked" : "Locked";
  fill($("token-button"), icon(there ? "unlock" : "lock"), h("span", {}, text));
  $("token-button").title = there ? "This tab has the token: the buttons work. Click to remove it." : "Click to enter the token that the buttons need.";
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
