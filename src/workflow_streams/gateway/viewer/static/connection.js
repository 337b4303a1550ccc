/** A live read of one stream that goes on across lost connections. */

import { Backoff } from "./backoff.js";
import { eventsIn, Watch } from "./event_stream.js";
import { Decoder } from "./events.js";
import { offsetOf, tokenAt } from "./place.js";

// A connection that ends sooner than this, and without news, counts as a failure.
const WORKED_MS = 1000;
const SLICE_MS = 12;
// How long to use a connection of its own after sharing one has failed.
const ALONE_MS = 30_000;

/**
 * Reads from an offset on, and resumes whenever a connection ends.
 *
 * It catches up over a connection of its own. Once it is level with the stream, it changes to the
 * connection that all tabs share. If that is lost, it opens one of its own again.
 *
 * `take(notices)` is called with what comes, in order, and returns the offset to go on at.
 * `tell(state, details)` is called with "connecting", "open", "waiting" (`{until, reason}`) and the
 * final state, which is "over" (after the end) or "refused" (`{error}`).
 */
export class Connection {
  constructor({ api, sharing, id, offset, token, topics, contentType, take, tell }) {
    this._api = api;
    this._sharing = sharing;
    this._id = id;
    this._topics = topics;
    this._contentType = contentType;
    this._take = take;
    this._tell = tell;
    this._position = offset;
    this._token = token;
    this._level = false;
    this._bare = false;
    this._shareFrom = 0;
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
        // First of all, since the worker needs one of the few connections that a browser has.
        await this._sharing.ready();
        if (this._stop.signal.aborted) return;
        const decoder = await this._read();
        if (decoder !== null) await this._share(decoder);
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

  /** If it is waiting to try again, try at once. */
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
      const { _id: id, _topics: topics } = this;
      const token = tokenAt(this._position, this._token);
      const response = await this._api.follow(id, { token, topics, signal });
      return await this._readBody(response, watch);
    } finally {
      watch.stop();
      attempt.abort();
    }
  }

  /** Read until the connection ends. If a shared one can take over, return the decoder for it. */
  async _readBody(response, watch) {
    const decoder = new Decoder({
      position: this._position,
      contentType: this._contentType,
      base64: response.headers.get("stream-sse-data-encoding") === "base64",
    });
    const began = Date.now();
    let rested = performance.now();
    this._tell("open");
    for await (const events of eventsIn(response, watch)) {
      if (this._stop.signal.aborted) return null;
      for (const event of events) {
        this._deliver(decoder.decode(event));
        // The owner may stop this after any event.
        if (this._over || this._stop.signal.aborted) return null;
        if (this._mayShare()) return decoder;
      }
      // Also after a comment, which is all that comes while the stream is silent.
      if (this._mayShare()) return decoder;
      // The worker may be waiting for the very connection that this one occupies.
      if (this._sharing.wanted && Date.now() - began > ALONE_MS) return null;
      if (performance.now() - rested > SLICE_MS) {
        await new Promise((resolve) => setTimeout(resolve));
        rested = performance.now();
      }
    }
    return null;
  }

  _deliver(notices) {
    if (notices.length === 0) return;
    for (const notice of notices) {
      if (notice.kind === "items") this._bare ||= notice.items.some(({ bare }) => bare);
      this._level = notice.kind === "place" && notice.upToDate;
      if (notice.kind === "place") this._token = notice.token;
    }
    this._over = notices.some((notice) => notice.kind === "end");
    this._position = this._take(notices);
  }

  /** Whether to change to the shared connection, which carries all topics. */
  _mayShare() {
    const told = this._topics.size === 0 || !this._bare;
    const here = this._level && offsetOf(this._token) === this._position;
    return this._sharing.alive && here && told && Date.now() >= this._shareFrom;
  }

  /** Take what the worker reads for all tabs, until the worker is lost or this is over. */
  async _share(decoder) {
    const began = Date.now();
    const { signal } = this._stop;
    const { promise: over, resolve: lost } = Promise.withResolvers();
    const hear = (events) => this._hearShared(events, decoder) || lost();
    const { _api: { login }, _id: id, _token: token } = this;
    const leave = this._sharing.join({ login, id, token, hear, lost });
    signal.addEventListener("abort", lost);
    await over;
    signal.removeEventListener("abort", lost);
    leave();
    if (Date.now() - began < WORKED_MS) this._shareFrom = Date.now() + ALONE_MS;
  }

  /** Take events of the shared connection; return whether more are to come. */
  _hearShared(events, decoder) {
    for (const event of events) {
      if (this._over || this._stop.signal.aborted) return false;
      let notices = decoder.decode(event);
      if (this._topics.size > 0) notices = this._chosen(notices);
      if (notices === null) {
        this._bare = true;
        return false;
      }
      this._deliver(notices);
    }
    return !this._over && !this._stop.signal.aborted;
  }

  /** Leave out items of other topics; null if the items do not name their topics. */
  _chosen(notices) {
    const chosen = [];
    for (const notice of notices) {
      if (notice.kind !== "items") chosen.push(notice);
      else if (notice.items.some(({ bare }) => bare)) return null;
      else {
        const items = notice.items.filter(({ topic }) => this._topics.has(topic));
        chosen.push({ ...notice, items });
      }
    }
    return chosen;
  }
}

/** Read the items and markers between two offsets, once; used when somebody scrolls back. */
export async function readRange({ api, id, topics, contentType, from, to, signal }) {
  const taken = [];
  let position = from;
  const done = new AbortController();
  const stop = AbortSignal.any([done.signal, signal]);
  const token = tokenAt(from, "");
  const response = await api.follow(id, { token, topics, signal: stop });
  const base64 = response.headers.get("stream-sse-data-encoding") === "base64";
  const decoder = new Decoder({ position, contentType, base64 });
  const watch = new Watch(() => done.abort());
  try {
    for await (const events of eventsIn(response, watch)) {
      for (const event of events) {
        for (const notice of decoder.decode(event)) {
          taken.push(notice);
          position = notice.next ?? notice.end ?? position;
          if (notice.kind === "end" || notice.upToDate) position = to;
        }
      }
      if (position >= to) break;
    }
  } finally {
    watch.stop();
    done.abort();
  }
  return taken;
}
