/** The list of streams as the gateway tells it, page by page, and how fast each one grows. */

const PAGE = 100;
const REFRESH_MS = 5000;
const TYPING_MS = 250;
const PROBE_MS = 700;
const PROBE_AGAIN_MS = 5000;

/**
 * Holds the streams that have been listed. `changed()` is called whenever something differs,
 * `failed(error)` when the gateway does not answer as it should.
 *
 * An entry has what the gateway lists (`id`, `state`, `outcome`, `type`, `started`, `closed`) and,
 * once it has been looked at, `head` and `rate`.
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

  /** List anew and keep it up to date while the page is looked at. */
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

  /** Have the gateway look for ids that begin like this, too; what is listed already stays. */
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

  /** Take in the first page; what further pages have brought stays. */
  async refresh() {
    const page = await this._page("");
    if (page === null) return;
    if (!this.loaded) this.more = page.next_page ?? "";
    this.loaded = true;
    const listed = new Set(page.streams.map(({ id }) => id));
    // With everything on one page, what is not on it is gone.
    if (!page.next_page) {
      for (const id of this.entries.keys()) {
        if (id.startsWith(this.prefix) && !listed.has(id)) this.entries.delete(id);
      }
    }
    this._merge(page.streams);
  }

  /** Take in the next page. */
  async loadMore() {
    if (!this.more) return;
    const page = await this._page(this.more);
    if (page === null) return;
    this.more = page.next_page ?? "";
    this._merge(page.streams);
  }

  /** Say which streams are in view: how far those have come is asked now and then. */
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

  /** Ask the stream in view that was asked longest ago; one at a time, since each costs a read. */
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
      next.at = Date.now() + 30_000; // not opened yet, or not readable: later again
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
