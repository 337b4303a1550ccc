/** One open stream: decides what to read, by where the reader is looking. Knows no page. */

import { Backoff } from "./backoff.js";
import { Connection, readRange } from "./connection.js";
import { HeadWatch, describeAtLast } from "./description.js";
import { Log } from "./log.js";
import { tokenAt } from "./place.js";
import { Rates } from "./rates.js";
import { Rows } from "./rows.js";
import { Waiting } from "./waiting.js";
import { beginAt, decide, dropFrom, earlierSpan } from "./window.js";

/**
 * Follows one stream and keeps a window of its rows.
 *
 * Dispatches "change" (rows or figures), "state" (of the connection), "jump" (`detail`: the row
 * to look at), "marker" (`detail`: a notice worth saying aloud) and "denied" (a token is needed).
 *
 * `state.name` is "connecting", "open", "waiting", "holding" (enough has been read for now, and
 * reading goes on by itself), "ended" or "refused".
 */
export class Session extends EventTarget {
  constructor(api, sharing, id) {
    super();
    this.api = api;
    this._sharing = sharing;
    this._token = "";
    this.id = id;
    this.rows = new Rows();
    this.log = new Log(this.rows);
    this.rates = new Rates();
    this.topics = new Set();
    this.chosen = new Set();
    this.state = { name: "connecting" };
    Object.assign(this, { head: 0, base: 0, contentType: "", outcome: null });
    this.upToDate = false;
    this.paused = false;
    this.following = true;
    this.waiting = new Waiting();
    this._view = { above: 0, below: 0 };
    this._jump = null;
    this._earlier = null;
    this._connection = null;
    this._opening = new AbortController();
    this._backoff = new Backoff();
    this._headWatch = new HeadWatch({
      api,
      id,
      hear: (described) => this._learn(described),
      fail: (error) => this._refuse(error),
    });
  }

  /** How many items there are between those that are held and the head. */
  get lag() {
    return Math.max(0, this.head - this.log.end);
  }

  /** Show the stream from a place on: "latest", "start" or an offset. */
  async open(place) {
    this.close();
    this._place = place;
    this._sharing.ready(); // let the worker start while the gateway answers
    const { signal } = (this._opening = new AbortController());
    const tell = (name, details) => this._tell(name, details);
    let described;
    try {
      const { api, id, _backoff: backoff } = this;
      described = await describeAtLast({ api, id, backoff, signal, tell });
    } catch (error) {
      return this._refuse(error);
    }
    if (described === null) return;
    this.contentType = described.contentType;
    this.waiting.clear();
    this.paused = false;
    this.following = place === "latest";
    this._view = { above: 0, below: 0 };
    const { head, base } = described;
    this.log.begin(beginAt(place, described));
    if (this.log.start <= base) this.log.markBase(base);
    this._jump = this.following ? null : Math.max(base, Math.min(place === "start" ? base : place, head - 1));
    Object.assign(this, { head, outcome: null });
    this._learn(described);
    this._connect();
    this._headWatch.start();
  }

  /** Read these topics only, or all if there are none. Stay near the place that is in view. */
  async choose(topics, offset) {
    this.chosen = new Set(topics);
    await this.open(this.following ? "latest" : offset);
  }

  /** Look at the head, the start or an offset; read anew if that is not held. */
  goTo(place) {
    const { log, rows, base } = this;
    if (place === "latest") {
      const here = !this.paused && (this.upToDate || (this.state.name === "ended" && !this.lag));
      if (!here) return this.open("latest");
      this.following = true;
      return this._changed();
    }
    const offset = place === "start" ? base : place;
    const row = offset < log.start ? undefined : rows.list[rows.indexOf(offset)];
    if (row === undefined) return this.open(place);
    this._jumpTo(row);
  }

  pause() {
    this.paused = true;
    this._changed();
  }

  resume() {
    this.paused = false;
    this._apply(this.waiting.take());
    this._balance();
    this._changed();
  }

  /** Learn how many rows are above and below those in view. */
  look(above, below, following) {
    this._view = { above, below };
    this.following = following;
    this._balance();
  }

  /** Read what comes before the first row, if there is anything. */
  async wantEarlier() {
    const { signal } = this._opening;
    if (this._earlier !== null || this.log.start <= this.base || signal.aborted) return;
    this._earlier = this._readEarlier(this.log.start, signal);
    await this._earlier;
    this._earlier = null;
  }

  /** Connect at once instead of waiting, or try again after a refusal. */
  hurry() {
    this._backoff.hurry();
    this._connection?.hurry();
    if (this.state.name !== "refused") return;
    // If the stream was open before, go on where it was. Otherwise open it as was asked for first.
    if (!this.contentType) return this.open(this._place);
    this._connect();
    this._headWatch.start();
  }

  close() {
    this._opening.abort();
    this._headWatch.stop();
    this._disconnect();
  }

  async _readEarlier(to, signal) {
    const { api, id, contentType, chosen: topics } = this;
    for (let span = earlierSpan(this.rows); ; span *= 8) {
      const from = Math.max(this.base, to - span);
      let notices;
      try {
        notices = await readRange({ api, id, topics, contentType, from, to, signal });
      } catch (error) {
        if (!signal.aborted && error.status && !error.passes) this._refuse(error);
        return;
      }
      if (signal.aborted || this.log.start !== to) return;
      // With a filter, a span may contain no items. Then try a longer one.
      if (from > this.base && !notices.some((notice) => notice.kind === "items")) continue;
      this._view.above += this.log.takeEarlier(notices, from);
      if (from <= this.base) this.log.markBase(this.base);
      this._learnTopics(this.rows.list);
      this._trimEnd();
      return this._changed();
    }
  }

  _connect() {
    this._disconnect();
    const { api, id, contentType, chosen: topics, _sharing: sharing } = this;
    const offset = this.waiting.place ?? this.log.end;
    const connection = new Connection({
      api, sharing, id, contentType, topics, offset,
      token: tokenAt(offset, this._token),
      take: (notices) => this._take(notices),
      tell: (name, details) => connection === this._connection && this._heard(name, details),
    });
    this._connection = connection;
    connection.run();
  }

  _disconnect() {
    this._connection?.stop();
    this._connection = null;
    this.upToDate = false;
  }

  _heard(name, details) {
    if (name === "refused") return this._refuse(details.error);
    if (name === "over") this._connection = null;
    this._tell(name === "over" ? "ended" : name, details);
  }

  _refuse(error) {
    this._disconnect();
    this._headWatch.stop();
    this._tell("refused", { error });
    if (error.status !== 401) return;
    // Another token may have been entered since the request was sent.
    if (error.login !== this.api.login) this.hurry();
    else this.dispatchEvent(new CustomEvent("denied", { detail: error }));
  }

  _take(notices) {
    for (const notice of notices) {
      if (notice.kind === "end") this.outcome = notice.outcome;
      if (notice.reason === "truncated") this.base = Math.max(this.base, notice.end);
      if (notice.kind !== "place") continue;
      this._token = notice.token;
      this.upToDate = notice.upToDate;
      this.head = notice.upToDate ? notice.next : Math.max(this.head, notice.next);
    }
    this.rates.count(notices, this.upToDate, Date.now());
    if (this.paused) this.waiting.keep(notices);
    else this._apply(notices);
    const place = this.waiting.place ?? this.log.end;
    if (this.paused && this.waiting.full) this._hold();
    this._balance();
    this._changed();
    return place;
  }

  _apply(notices) {
    const before = this.rows.list.length;
    this._learnTopics(this.log.take(notices));
    // Until the view has drawn them, they count as below the rows in view.
    this._view.below += this.rows.list.length - before;
    for (const notice of notices) {
      if (["gap", "rewind", "end"].includes(notice.kind)) {
        this.dispatchEvent(new CustomEvent("marker", { detail: notice }));
      }
    }
    if (this._jump === null || !this.rows.list.length) return;
    const at = this.rows.indexOf(this._jump);
    if (at < 0 && !this.upToDate) return;
    this._jump = null;
    this._jumpTo(this.rows.list.at(at));
  }

  _jumpTo(row) {
    this.following = false;
    this.dispatchEvent(new CustomEvent("jump", { detail: row }));
  }

  _learn({ head, base, closed, outcome }) {
    this.base = base;
    // A live read knows the head better than any description.
    if (!this.upToDate) this.head = Math.max(this.head, head);
    if (closed) this.outcome ??= outcome;
    this._changed();
  }

  _learnTopics(rows) {
    for (const { topic } of rows) if (topic) this.topics.add(topic);
  }

  /** Keep the rows that are held within bounds, around those in view. */
  _balance() {
    const { rows, following, paused, upToDate, _view: view } = this;
    const held = this.state.name === "holding";
    const reading = this._connection !== null;
    const now = decide({ rows, ...view, following, paused, reading, held, upToDate });
    if (now.dropFirst) {
      view.above = Math.max(0, view.above - this.log.dropFirst(now.dropFirst));
      this._changed();
    }
    if (now.stop) this._hold();
    this._trimEnd();
    if (now.go) this._connect();
    if (now.earlier) this.wantEarlier();
  }

  /** Drop rows far below those in view, if there are too many altogether. */
  _trimEnd() {
    const { rows, following, _view: view } = this;
    const length = rows.list.length;
    const at = dropFrom({ rows, following, below: view.below });
    if (at >= length) return;
    this._hold();
    this.waiting.clear();
    this.log.dropFrom(at);
    view.below -= length - at;
  }

  _hold() {
    this._disconnect();
    this._tell("holding");
  }

  _tell(name, details = {}) {
    this.state = { ...details, name };
    this.dispatchEvent(new Event("state"));
  }

  _changed() {
    this.dispatchEvent(new Event("change"));
  }
}
