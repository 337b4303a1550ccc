/** One live read of a stream that outlasts its connections. */

import { Backoff } from "./backoff.js";
import { Decoder } from "./events.js";
import { SseParser } from "./sse.js";

// The gateway breaks a silence after 15 s.
const SILENCE_MS = 40_000;
// A connection that ends sooner than this without news has not worked.
const WORKED_MS = 1000;
const SLICE_MS = 12;

/**
 * Reads from an offset on, and goes on there whenever a connection ends.
 *
 * `take(notices)` gets what comes, in order, and returns where to go on; `tell(state, details)`
 * hears of "connecting", "open", "waiting" (`{until, reason}`) and of the last state, "over"
 * (after the end) or "refused" (`{error}`).
 */
export class Connection {
  constructor({ api, id, offset, topics, contentType, take, tell }) {
    this._api = api;
    this._id = id;
    this._topics = topics;
    this._contentType = contentType;
    this._take = take;
    this._tell = tell;
    this._position = offset;
    this._stop = new AbortController();
    this._backoff = new Backoff();
    this._over = false;
  }

  /** Read until the end or until stopped. */
  async run() {
    let first = true;
    while (!this._stop.signal.aborted) {
      const began = Date.now();
      const from = this._position;
      let error = null;
      try {
        if (first || this._backoff.failures) this._tell("connecting");
        first = false;
        await this._read();
      } catch (caught) {
        error = caught;
      }
      if (this._stop.signal.aborted) return;
      if (this._over) return this._tell("over");
      if (error !== null && error.status && !error.passes) return this._tell("refused", { error });
      const worked = this._position > from || Date.now() - began > WORKED_MS;
      if (worked) this._backoff.reset();
      if (error === null && worked) continue;
      await this._pause(error);
    }
  }

  stop() {
    this._stop.abort();
  }

  /** Try again at once if it waits to. */
  hurry() {
    this._backoff.hurry();
  }

  async _pause(error) {
    const pause = this._backoff.next(error?.retryAfterMs ?? 0);
    const reason = error?.message ?? "The connection was closed.";
    this._tell("waiting", { until: Date.now() + pause, reason, failures: this._backoff.failures });
    await this._backoff.wait(pause, this._stop.signal);
  }

  async _read() {
    const attempt = new AbortController();
    const signal = AbortSignal.any([attempt.signal, this._stop.signal]);
    const watch = new Watch(() => attempt.abort());
    try {
      const [id, topics] = [this._id, this._topics];
      const response = await this._api.follow(id, { offset: this._position, topics, signal });
      await this._readBody(response, watch);
    } finally {
      watch.stop();
      attempt.abort();
    }
  }

  async _readBody(response, watch) {
    const decoder = new Decoder({
      position: this._position,
      contentType: this._contentType,
      base64: response.headers.get("stream-sse-data-encoding") === "base64",
    });
    const parser = new SseParser();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rested = performance.now();
    this._tell("open");
    for (;;) {
      const { done, value } = await reader.read();
      if (done || this._stop.signal.aborted) return;
      watch.heard();
      for (const event of parser.feed(value)) {
        this._deliver(decoder.decode(event));
        // Whoever takes the events may have had enough after each of them.
        if (this._over || this._stop.signal.aborted) return;
      }
      if (performance.now() - rested > SLICE_MS) {
        await new Promise((resolve) => setTimeout(resolve));
        rested = performance.now();
      }
    }
  }

  _deliver(notices) {
    if (notices.length === 0) return;
    this._over = notices.some((notice) => notice.kind === "end");
    this._position = this._take(notices);
  }
}

/** Calls `silent` when nothing has been heard for too long. */
class Watch {
  constructor(silent) {
    this._silent = silent;
    this.heard();
  }

  heard() {
    clearTimeout(this._timer);
    this._timer = setTimeout(this._silent, SILENCE_MS);
  }

  stop() {
    clearTimeout(this._timer);
  }
}

/** Read the items and markers between two offsets, once; for what has been scrolled back to. */
export async function readRange({ api, id, topics, contentType, from, to, signal }) {
  const taken = [];
  let position = from;
  const done = new AbortController();
  const stop = AbortSignal.any([done.signal, signal]);
  const response = await api.follow(id, { offset: from, topics, signal: stop });
  const base64 = response.headers.get("stream-sse-data-encoding") === "base64";
  const decoder = new Decoder({ position, contentType, base64 });
  const parser = new SseParser();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const watch = new Watch(() => done.abort());
  try {
    while (position < to) {
      const { done: over, value } = await reader.read();
      if (over) break;
      watch.heard();
      for (const event of parser.feed(value)) {
        for (const notice of decoder.decode(event)) {
          taken.push(notice);
          position = notice.next ?? notice.end ?? position;
          if (notice.kind === "end" || notice.upToDate) position = to;
        }
      }
    }
  } finally {
    watch.stop();
    done.abort();
  }
  return taken;
}
