/** Joins a stream's pieces of text into a whole. Knows no page. */

import { visible } from "./values.js";

export const WHOLE = "";
const LIKELY = [
  "text", "delta", "content", "token", "chunk", "message",
  "delta.text", "delta.content", "choices.0.delta.content",
];

/** Return the text at a path such as `choices.0.delta.content`; null if there is none. */
export function textAt(value, path) {
  let found = value;
  if (path !== WHOLE) {
    for (const step of path.split(".")) {
      if (found === null || typeof found !== "object" || !Object.hasOwn(found, step)) return null;
      found = found[step];
    }
  }
  return typeof found === "string" ? found : null;
}

/** Return the paths at which an item's value holds text, the likely ones first. */
export function pathsIn(value) {
  if (typeof value === "string") return [WHOLE];
  if (value === null || typeof value !== "object" || Array.isArray(value)) return [];
  const likely = LIKELY.filter((path) => textAt(value, path) !== null);
  const others = Object.keys(value)
    .slice(0, 50)
    .filter((key) => typeof value[key] === "string" && !key.includes(".") && !likely.includes(key));
  return [...likely, ...others];
}

/** Collects which fields hold text, from all items that it is shown. */
export class Fields {
  constructor() {
    this.paths = [];
    this._seen = new WeakSet();
  }

  /** Learn from rows; return whether there is a new path. */
  learn(rows) {
    const before = this.paths.length;
    for (let i = rows.length - 1; i >= 0; i--) {
      const row = rows[i];
      if (this._seen.has(row)) break;
      this._seen.add(row);
      if (row.kind !== "item" || this.paths.length >= 30) continue;
      for (const path of pathsIn(row.value)) if (!this.paths.includes(path)) this.paths.push(path);
    }
    return this.paths.length !== before;
  }

  /** The path that most likely holds the text. */
  get best() {
    const rank = (path) => (LIKELY.indexOf(path) + 1 || LIKELY.length + 1) - (path === WHOLE ? 0.5 : 0);
    return [...this.paths].sort((a, b) => rank(a) - rank(b))[0] ?? WHOLE;
  }
}

/**
 * Return the text of rows as parts, each `{text}` or `{marker: row}`.
 *
 * Items that were taken back are left out.
 */
export function partsOf(rows, path) {
  const parts = [];
  let pieces = [];
  const flush = () => {
    if (pieces.length) parts.push({ text: visible(pieces.join(""), true) });
    pieces = [];
  };
  for (const row of rows) {
    if (row.kind !== "item") {
      flush();
      parts.push({ marker: row });
    } else if (!row.rewound && !row.encoding) {
      const text = textAt(row.value, path);
      if (text !== null) pieces.push(text);
    }
  }
  flush();
  return parts;
}
