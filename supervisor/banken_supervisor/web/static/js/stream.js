// The event stream of the web process. The browser reconnects by itself when the connection breaks; where a request
// was refused (the web process is at its limit, or just starting), it is opened again here.

import { begin, drop, emit, finish, now, store, take } from "./store.js";

const AGAIN_MS = 2000;
const SILENT_S = 10; // the counts come every two seconds

let source = null;
let heardAt = 0;

/** Open the stream, and keep it open. */
export function connect() {
  source?.close();
  heardAt = now();
  source = new EventSource("/api/v1/stream");
  hear("hello", hello);
  hear("rows", rows);
  hear("changed", changed);
  hear("event", (told) => {
    store.heard = now();
    emit("event", told);
  });
  hear("down", ({ error }) => link("down", error));
  hear("up", (told) => summary(told.summary));
  source.addEventListener("error", () => {
    link("lost", "");
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, AGAIN_MS);
  });
}

// A connection can be dead without having ended (the web process hangs, the host behind a proxy slept). The browser
// reports no error then, and the page would go on showing old data as if it were new.
setInterval(() => {
  if (source === null || now() - heardAt < SILENT_S) return;
  if (store.link === "up") link("lost", "");
  connect();
}, 1000);

function hear(kind, then) {
  source.addEventListener(kind, ({ data }) => {
    heardAt = now();
    then(JSON.parse(data));
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
