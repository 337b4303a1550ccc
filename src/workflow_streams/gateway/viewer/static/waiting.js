/** What came while the view was paused, up to a bound. */

export const MOST_WAITING = 5000;
const MOST_BYTES = 16 * 1024 * 1024;

export class Waiting {
  constructor() {
    this.clear();
  }

  clear() {
    this.notices = [];
    this.count = 0;
    this._bytes = 0;
    /** Where reading goes on; null if nothing waits. */
    this.place = null;
  }

  /** Whether no more is to be kept; it can be read again when it is wanted. */
  get full() {
    return this.count > MOST_WAITING || this._bytes > MOST_BYTES;
  }

  keep(notices) {
    for (const notice of notices) {
      this.notices.push(notice);
      this.place = notice.next ?? notice.end ?? this.place;
      if (notice.kind !== "items") continue;
      this.count += notice.items.length;
      for (const item of notice.items) this._bytes += item.size;
    }
  }

  /** Return what waits, and hold nothing any more. */
  take() {
    const { notices } = this;
    this.clear();
    return notices;
  }
}
