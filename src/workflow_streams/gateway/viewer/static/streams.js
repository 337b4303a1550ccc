/** Lists the gateway's streams, page by page, and measures how fast each of them grows. */

const PAGE = 100;
const REFRESH_MS = 5000;
const TYPING_MS = 250;
const PROBE_MS = 700;
const PROBE_AGAIN_MS = 5000;

/**
 * Holds the streams that have been listed. `changed()` is called whenever anything changes,
 * `failed(error)` when the gateway fails to answer.
 *
 * An entry has what the gateway lists (`id`, `state`, `outcome`, `type`, `started`, `closed`) and,
 * once it has been in view, `head` and `rate`.
 */
export class Streams {
  constructor(api, { changed, failed }) {
    Object.assign(this, { _api: api, _changed: changed, _failed: failed });
    this.entries = new Map();
    this.state = "all";
    this.prefix = "";
    this.more = "";
    this.loaded = false;
    this._visible = new Set();
    this._generation = 0;
  }

  /** List the streams, and keep the list up to date while the page is visible. */
  start() {
    this._every(REFRESH_MS, () => this.refresh());
    this._every(PROBE_MS, () => this._probeNext());
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
    return this.refresh();
  }

  /** Show streams of this state: "all", "running" or "closed". */
  show(state) {
    this.state = state;
    this.entries.clear();
    this.more = "";
    this.loaded = false;
    this._generation += 1;
    this._changed();
    return this.refresh();
  }

  /** Also ask the gateway for ids that begin with `prefix`. What is listed already stays. */
  find(prefix) {
    clearTimeout(this._finding);
    this._finding = setTimeout(() => {
      if (prefix === this.prefix) return;
      this.prefix = prefix;
      this.loaded = false;
      this._generation += 1;
      this.refresh();
    }, TYPING_MS);
  }

  /** Fetch the first page again. What further pages have brought stays. */
  async refresh() {
    const page = await this._page("");
    if (page === null) return;
    if (!this.loaded) this.more = page.next_page ?? "";
    this.loaded = true;
    const listed = new Set(page.streams.map(({ id }) => id));
    // If there is only one page, a stream that is not on it is gone.
    if (!page.next_page) {
      for (const id of this.entries.keys()) {
        if (id.startsWith(this.prefix) && !listed.has(id)) this.entries.delete(id);
      }
    }
    this._merge(page.streams);
  }

  /** Fetch the next page. */
  async loadMore() {
    if (!this.more) return;
    const page = await this._page(this.more);
    if (page === null) return;
    this.more = page.next_page ?? "";
    this._merge(page.streams);
  }

  /** Say which streams are in view. Their heads are asked for from time to time. */
  look(ids) {
    this._visible = ids;
  }

  async _page(page) {
    const generation = this._generation;
    try {
      const answer = await this._api.list({ state: this.state, prefix: this.prefix, page, limit: PAGE });
      return generation === this._generation ? answer : null;
    } catch (error) {
      if (generation === this._generation) this._failed(error);
      return null;
    }
  }

  _merge(streams) {
    for (const stream of streams) {
      const known = this.entries.get(stream.id) ?? { rate: null, head: null, at: 0 };
      this.entries.set(stream.id, Object.assign(known, stream));
    }
    this._changed();
  }

  _every(milliseconds, run) {
    const tick = async () => {
      if (!document.hidden) await run();
      setTimeout(tick, milliseconds);
    };
    setTimeout(tick, milliseconds);
  }

  /** Ask for the head that was asked for longest ago; one at a time, since each costs a read. */
  async _probeNext() {
    const now = Date.now();
    let next = null;
    for (const id of this._visible) {
      const entry = this.entries.get(id);
      if (!entry || now - entry.at < PROBE_AGAIN_MS) continue;
      if (entry.head !== null && entry.state !== "running") continue;
      if (next === null || entry.at < next.at) next = entry;
    }
    if (next === null) return;
    try {
      learn(next, await this._api.describe(next.id));
    } catch (error) {
      next.at = Date.now() + 30_000; // not opened yet, or not readable: try again later
      if (error.status === 401) this._failed(error);
      return;
    }
    this._changed();
  }
}

function learn(entry, { head, closed, outcome }) {
  const now = Date.now();
  const seconds = (now - entry.at) / 1000;
  if (entry.head !== null && seconds < 60) entry.rate = Math.max(0, head - entry.head) / seconds;
  Object.assign(entry, { head, at: now });
  if (closed) Object.assign(entry, { state: "closed", outcome: outcome ?? entry.outcome, rate: null });
}
