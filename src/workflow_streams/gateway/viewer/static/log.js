/** Applies the notices of a stream to the rows. Only here are order and duplicates judged. */

/**
 * The rows of a part of a stream, from offset `start` to offset `end`.
 *
 * Between the two the rows are complete. Reading goes on at `end`.
 */
export class Log {
  constructor(rows) {
    this.rows = rows;
    this.start = 0;
    this.end = 0;
    this.ended = null;
    this.runs = [];
    this._rewinds = new Map();
  }

  /** Begin anew at an offset, but keep what is known of the stream as a whole. */
  begin(offset) {
    this.rows.clear();
    this.start = this.end = offset;
    this.ended = null;
  }

  /** Take what comes next, at `end`; return the items that are new. */
  take(notices) {
    const fresh = [];
    for (const notice of notices) {
      if (notice.kind === "items") this._items(notice, fresh);
      else if (notice.kind === "gap") this._gap(notice);
      else if (notice.kind === "rewind") this._rewind(notice);
      else if (notice.kind === "runs") this._learnRuns(notice.runs);
      else if (notice.kind === "place") this.end = Math.max(this.end, notice.next);
      else if (notice.kind === "end") this._end(notice);
    }
    this._placeRuns();
    return fresh;
  }

  /** Mark at the top that the stream is retained only from this offset on. */
  markBase(base) {
    if (base > 0 && this.start <= base) this.rows.prepend([{ kind: "base", key: "base", offset: base }]);
  }

  /** Return the row of a rewind that has been told. */
  rewind(key) {
    return this._rewinds.get(key);
  }

  /** Add what was read from `from` to `start` before the rows; return how many rows were added. */
  takeEarlier(notices, from) {
    const earlier = [];
    for (const notice of notices) {
      if (notice.kind === "items") {
        for (const item of notice.items) {
          if (item.offset >= from && item.offset < this.start) earlier.push(this._row(item));
        }
      } else if (notice.kind === "gap" && notice.start < this.start) {
        earlier.push(gapRow({ ...notice, end: Math.min(notice.end, this.start) }));
      } else if (notice.kind === "rewind") {
        const rewind = this._learn(notice);
        const here = notice.next >= from && notice.next < this.start;
        if (here && !this.rows.has(rewind.key)) earlier.push(rewind);
        for (const row of earlier) if (this._isTakenBack(rewind, row)) row.rewound ??= rewind;
      }
    }
    for (const run of this.runs) {
      if (run.offset >= from && run.offset < this.start) place(earlier, run);
    }
    this.start = from;
    return this.rows.prepend(earlier);
  }

  /** Drop the rows from an index on, since the reader is looking far above them. */
  dropFrom(index) {
    const [first] = this.rows.dropFrom(index);
    if (first === undefined) return;
    // Rows that a restart took back have old offsets. To read on, go to where the restart began.
    const restart = first.rewound && first.rewound.reason !== "attempt" ? first.rewound.offset : first.offset;
    this.end = Math.min(first.offset, restart);
    this.ended = null;
  }

  /** Drop the first `n` rows, since the reader is looking far below them. */
  dropFirst(n) {
    const dropped = this.rows.dropFirst(n);
    const next = this.rows.list.find((row) => row.kind === "item" && !row.rewound) ?? { offset: this.end };
    this.start = Math.max(this.start, Math.min(next.offset, this.end));
    return dropped;
  }

  _items({ items, next }, fresh) {
    for (const item of items) {
      if (item.offset < this.end) continue; // it came already, before the connection was cut
      const row = this._row(item);
      this.rows.append(row);
      this.end = item.offset + 1;
      fresh.push(row);
    }
    this.end = Math.max(this.end, next);
  }

  _row(item) {
    const row = { kind: "item", ...item, rewound: null };
    for (const rewind of this._rewinds.values()) {
      if (rewind.reason === "attempt" && this._isTakenBack(rewind, row)) row.rewound = rewind;
    }
    return row;
  }

  _isTakenBack(rewind, row) {
    if (row.kind !== "item") return false;
    return rewind.ranges.some(([start, end]) => row.offset >= start && row.offset < end);
  }

  _gap(notice) {
    if (notice.end <= this.end) return;
    this.rows.append(gapRow({ ...notice, start: Math.max(notice.start, this.end) }));
    this.end = notice.end;
  }

  _rewind(notice) {
    const known = this._rewinds.has(notice.key);
    const rewind = this._learn(notice);
    if (rewind.reason === "attempt") {
      rewind.found = Math.max(rewind.found, this.rows.takeBack(rewind, rewind.ranges));
      this.end = Math.max(this.end, rewind.offset);
    } else if (!known) {
      // The offsets from here on are used again.
      rewind.found = this.rows.takeBack(rewind, [[rewind.offset, Infinity]]);
      this.end = rewind.offset;
      this.start = Math.min(this.start, rewind.offset);
      this.rows.append(rewind);
      return;
    }
    if (rewind.offset >= this.start) this.rows.insert(rewind);
  }

  _learn({ ranges, reason, next, attempt, key }) {
    let rewind = this._rewinds.get(key);
    if (rewind === undefined) {
      const count = ranges.reduce((sum, [start, end]) => sum + end - start, 0);
      rewind = { kind: "rewind", key, offset: next, ranges, reason, attempt, count, folded: false, found: 0 };
      this._rewinds.set(key, rewind);
      if (this._rewinds.size > 1000) this._rewinds.delete(this._rewinds.keys().next().value);
    }
    return rewind;
  }

  /** Note where the stream's runs began. Each except the very first began with a rollover. */
  _learnRuns(runs) {
    for (const { id, first } of runs) {
      const key = `run ${id}`;
      if (first === 0 || this.runs.some((run) => run.key === key)) continue;
      this.runs.push({ kind: "run", key, offset: first, id });
    }
    this.runs.sort((a, b) => a.offset - b.offset).splice(0, this.runs.length - 1000);
  }

  _placeRuns() {
    for (const run of this.runs) {
      const here = run.offset > this.start && run.offset <= this.end;
      if (here && !this.rows.has(run.key)) this.rows.insert(run);
    }
  }

  _end({ offset, outcome }) {
    this.ended = { kind: "end", key: "end", offset, outcome };
    this.rows.append(this.ended);
  }
}

function gapRow({ start, end, reason }) {
  return { kind: "gap", key: `gap ${start} ${end}`, offset: start, start, end, reason };
}

function place(rows, marker) {
  if (rows.some((row) => row.key === marker.key)) return;
  const at = rows.findIndex((row) => row.offset >= marker.offset && !row.rewound);
  rows.splice(at < 0 ? rows.length : at, 0, marker);
}
