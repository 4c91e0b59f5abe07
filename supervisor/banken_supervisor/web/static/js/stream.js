// The event stream of the web process, read with fetch: an EventSource cannot send the token. When it ends, or was
// refused (the web process is at its limit, or just starting), it is opened again.

import { openStream } from "./api.js";
import { begin, drop, emit, finish, now, store, take } from "./store.js";

const AGAIN_MS = 1000;
const SILENT_S = 10; // the counts come every two seconds

let stream = null; // what ends the open one
let again = 0;
let heardAt = 0;

/** Open the stream, and keep it open. */
export function connect() {
  disconnect();
  heardAt = now();
  stream = new AbortController();
  follow(stream);
}

/** Close it. */
export function disconnect() {
  clearTimeout(again);
  stream?.abort();
  stream = null;
}

async function follow(own) {
  try {
    await hear(await openStream(own.signal));
  } catch {
    // it broke, or was refused
  }
  if (stream !== own) return;
  link("lost", "");
  again = setTimeout(connect, AGAIN_MS);
}

async function hear(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) dispatch(block);
  }
}

const KINDS = {
  hello,
  rows,
  changed,
  event: (each) => {
    store.heard = now();
    emit("event", each);
  },
  down: ({ error }) => link("down", error),
  up: (each) => summary(each.summary),
};

function dispatch(block) {
  const fields = Object.fromEntries(block.split("\n").map((line) => [line.slice(0, line.indexOf(": ")), line.slice(line.indexOf(": ") + 2)]));
  if (!Object.hasOwn(KINDS, fields.event ?? "")) return; // a comment, or the time to wait
  heardAt = now();
  try {
    KINDS[fields.event](JSON.parse(fields.data));
  } catch (fault) {
    reportError(fault); // one event must not end the stream
  }
}

// A connection can be dead without having ended (the web process hangs, the host behind a proxy slept). The browser
// reports no error then, and the page would go on showing old data as if it were new.
setInterval(() => {
  if (stream === null || now() - heardAt < SILENT_S) return;
  if (store.link === "up") link("lost", "");
  connect();
}, 1000);

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

/** Say how things stand: see `store.link`. */
export function link(state, error) {
  if (store.link === state && store.error === error) return;
  store.link = state;
  store.error = error ?? "";
  emit("link");
}
