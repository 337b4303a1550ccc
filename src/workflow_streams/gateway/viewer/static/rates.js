/** How many items per second a stream has received: a count for each of the last seconds. */

export const SECONDS = 60;

export class Rates {
  constructor() {
    this._counts = new Array(SECONDS).fill(0);
    this._second = 0;
    this._next = 0;
  }

  /**
   * Count the items among notices, each only once even if it is read again. An item counts for the
   * second in which the server received it. If that is not known, it counts for now if it came
   * `live`, and otherwise not at all.
   */
  count(notices, live, now) {
    this._advance(now);
    for (const { kind, items, reason, next } of notices) {
      if (kind === "rewind" && reason !== "attempt") this._next = Math.min(this._next, next);
      if (kind !== "items") continue;
      for (const { offset, time } of items) {
        if (offset < this._next) continue;
        this._next = offset + 1;
        if (time !== null) this._add(time);
        else if (live) this._add(now);
      }
    }
  }

  /** Return the counts, oldest first. The last is that of the present, incomplete second. */
  series(now) {
    this._advance(now);
    const first = (this._second + 1) % SECONDS;
    return [...this._counts.slice(first), ...this._counts.slice(0, first)];
  }

  /** Return items per second, over the last full seconds. */
  now(now, seconds = 5) {
    const full = this.series(now).slice(-1 - seconds, -1);
    return full.reduce((sum, n) => sum + n, 0) / seconds;
  }

  _add(at) {
    const second = Math.min(Math.floor(at / 1000), this._second);
    if (second > this._second - SECONDS) this._counts[second % SECONDS] += 1;
  }

  _advance(now) {
    const second = Math.floor(now / 1000);
    if (second <= this._second) return;
    const passed = Math.min(second - this._second, SECONDS);
    for (let i = 0; i < passed; i++) this._counts[(second - i) % SECONDS] = 0;
    this._second = second;
  }
}
