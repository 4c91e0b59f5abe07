// The event stream of the web process. The browser comes back by itself when the connection breaks; where an answer
// was refused (the web process is at its limit, or just starting), it is opened again here.

import { begin, drop, emit, finish, now, store, take } from "./store.js";

const AGAIN_MS = 2000;

let source = null;

/** Open the stream, and keep it open. */
export function connect() {
  source?.close();
  source = new EventSource("/api/v1/stream");
  source.addEventListener("hello", ({ data }) => hello(JSON.parse(data)));
  source.addEventListener("rows", ({ data }) => rows(JSON.parse(data)));
  source.addEventListener("changed", ({ data }) => changed(JSON.parse(data)));
  source.addEventListener("event", ({ data }) => {
    store.heard = now();
    emit("event", JSON.parse(data));
  });
  source.addEventListener("down", ({ data }) => link("down", JSON.parse(data).error));
  source.addEventListener("up", ({ data }) => summary(JSON.parse(data).summary));
  source.addEventListener("error", () => {
    link("lost", "");
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, AGAIN_MS);
  });
}

function hello({ up, error, summary: told }) {
  if (!up) {
    link("down", error ?? "");
    return;
  }
  begin();
  link("up", "");
  summary(told);
}

function rows({ rows: told, complete }) {
  take(told);
  if (complete) finish();
  emit("rows");
}

function changed({ rows: told, gone, summary: counts }) {
  take(told);
  drop(gone);
  if (counts) summary(counts);
  if (told.length || gone.length) emit("rows");
}

function summary(told) {
  store.heard = now();
  if (!told) return;
  store.summary = told;
  store.summaryAt = now();
  emit("summary");
}

function link(state, error) {
  if (store.link === state && store.error === error) return;
  store.link = state;
  store.error = error ?? "";
  emit("link");
}
