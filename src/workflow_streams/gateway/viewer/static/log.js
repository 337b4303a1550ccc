/** What the notices of a stream do to the rows: the one place where order and doubles are judged. */

/**
 * A place in a stream and the rows up to it.
 *
 * `start` and `end` are the offsets between which the rows are complete; `end` is where reading
 * goes on.
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

  /** Begin anew at an offset; what is known of the stream as a whole stays. */
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

  /** Say at the top that the stream is kept from there on only. */
  markBase(base) {
    if (base > 0 && this.start <= base) this.rows.prepend([{ kind: "base", key: "base", offset: base }]);
  }

  /** Return a rewind that has been told, as the row that it makes. */
  rewind(key) {
    return this._rewinds.get(key);
  }

  /** Put what was read for `from` to `start` before the rows; return how many rows that are. */
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

  /** Drop rows from the end on, since the reader is far from there. */
  dropFrom(index) {
    const [first] = this.rows.dropFrom(index);
    if (first === undefined) return;
    // After a restart the offsets before its rewind are past ones; what counts is in the stream.
    const restart = first.rewound && first.rewound.reason !== "attempt" ? first.rewound.offset : first.offset;
    this.end = Math.min(first.offset, restart);
    this.ended = null;
  }

  /** Drop the first rows, since the reader is far from there. */
  dropFirst(n) {
    const dropped = this.rows.dropFirst(n);
    const next = this.rows.list.find((row) => row.kind === "item" && !row.rewound) ?? { offset: this.end };
    this.start = Math.max(this.start, Math.min(next.offset, this.end));
    return dropped;
  }

  _items({ items, next }, fresh) {
    for (const item of items) {
      if (item.offset < this.end) continue; // came before the connection was cut off
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
      // The offsets from here on are used anew.
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

  /** Note where the stream's runs began; each but the first of all was a rollover. */
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
