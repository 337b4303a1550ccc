/** Rows of a part of a stream, items and markers, in the stream's order. Knows no page. */

export const MOST_ROWS = 6000;
export const MOST_BYTES = 48 * 1024 * 1024;

/**
 * The rows that the page holds.
 *
 * An item's row is `{kind: "item", offset, topic, time, value, encoding, size, rewound}`;
 * `rewound` is the row of the rewind that took it back, or null. Markers are of the kinds "gap",
 * "rewind", "run", "base" and "end", each with its `offset` in the stream.
 */
export class Rows {
  constructor() {
    this.list = [];
    this.bytes = 0;
    this.items = 0;
    this.version = 0;
    this._keys = new Map();
  }

  get full() {
    return this.list.length > MOST_ROWS || this.bytes > MOST_BYTES;
  }

  /** Add a row at the end, unless it is a marker that is here already. */
  append(row) {
    if (this._count(row)) this.list.push(row);
  }

  prepend(rows) {
    const fresh = rows.filter((row) => this._count(row));
    this.list = fresh.concat(this.list);
    return fresh.length;
  }

  /** Add a marker: after the items that it takes back, before the others from its offset on. */
  insert(row) {
    const { list } = this;
    let at = list.length;
    while (at > 0 && !this._before(list[at - 1], row)) at -= 1;
    if (this._count(row)) list.splice(at, 0, row);
  }

  _before(other, row) {
    if (other.rewound === row) return true;
    return other.offset < row.offset || (other.kind !== "item" && other.offset === row.offset);
  }

  has(key) {
    return this._keys.has(key);
  }

  get(key) {
    return this._keys.get(key);
  }

  /** Drop the first `n` rows; return how many. */
  dropFirst(n) {
    for (const row of this.list.splice(0, n)) this._forget(row);
    return n;
  }

  /** Drop all rows from index `from` on; return them. */
  dropFrom(from) {
    const dropped = this.list.splice(from);
    for (const row of dropped) this._forget(row);
    return dropped;
  }

  clear() {
    this.dropFrom(0);
  }

  /** Mark the items in `ranges` as taken back by `rewind`; return how many there are. */
  takeBack(rewind, ranges) {
    let found = 0;
    for (const row of this.list) {
      if (row.kind !== "item" || row.rewound) continue;
      if (!ranges.some(([start, end]) => row.offset >= start && row.offset < end)) continue;
      row.rewound = rewind;
      found += 1;
    }
    if (found) this.version += 1;
    return found;
  }

  /** Return the index of the first item at or after an offset, in the stream as it is now. */
  indexOf(offset) {
    // After a restart of the workflow, an offset may be here twice. The old one does not count.
    const counts = ({ rewound }) => !rewound || rewound.reason === "attempt";
    return this.list.findIndex((row) => row.kind === "item" && row.offset >= offset && counts(row));
  }

  changed() {
    this.version += 1;
  }

  _count(row) {
    if (row.key !== undefined) {
      if (this._keys.has(row.key)) return false;
      this._keys.set(row.key, row);
    }
    this.version += 1;
    this.bytes += row.size ?? 0;
    if (row.kind === "item") this.items += 1;
    return true;
  }

  _forget(row) {
    if (row.key !== undefined) this._keys.delete(row.key);
    this.version += 1;
    this.bytes -= row.size ?? 0;
    if (row.kind === "item") this.items -= 1;
  }
}

/** Selects the rows to show: those that are not folded away and that match the search. */
export class Selection {
  constructor(rows, textOf) {
    this._rows = rows;
    this._textOf = textOf;
    this._query = "";
    this._version = -1;
    this._shown = [];
  }

  set query(text) {
    this._query = text.toLowerCase();
    this._version = -1;
  }

  get query() {
    return this._query;
  }

  /** Return the rows to show; the same array as long as nothing has changed. */
  shown() {
    if (this._version === this._rows.version) return this._shown;
    this._version = this._rows.version;
    const query = this._query;
    this._shown = this._rows.list.filter((row) => {
      if (row.rewound?.folded) return false;
      if (!query || row.kind !== "item") return true;
      return row.topic.toLowerCase().includes(query) || this._textOf(row).includes(query);
    });
    return this._shown;
  }
}
