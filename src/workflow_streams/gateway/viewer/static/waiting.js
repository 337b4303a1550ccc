/** Keeps what comes while the view is paused, up to a limit. */

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
    /** The offset at which to go on reading; null if nothing is kept. */
    this.place = null;
  }

  /** Whether to keep no more. What is not kept can be read again later. */
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

  /** Return everything that is kept, and keep nothing of it. */
  take() {
    const { notices } = this;
    this.clear();
    return notices;
  }
}
