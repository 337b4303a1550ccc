/** How much of a stream is held around what is looked at. Decides only; the session acts. */

import { MOST_BYTES, MOST_ROWS } from "./rows.js";

// Reading stops when so many rows wait below what is looked at, and goes on below so few.
const ENOUGH_BELOW = 2500;
const FEW_BELOW = 400;
const FEW_ABOVE = 150;
const KEPT_ABOVE = 2500;
const KEPT_AT_LEAST = 50;
const FEW_IN_ALL = 100;
const DROPPED_AT_ONCE = 1000;
const BACKFILL = 500;
const CONTEXT = 100;
const EARLIER_ROWS = 500;
const EARLIER_BYTES = 4 * 1024 * 1024;

/**
 * Return what to do: `{dropFirst, stop, go, earlier}`.
 *
 * `above` and `below` count the rows before and after those that are looked at; `reading` says
 * whether more comes in at the end, `held` whether it could.
 */
export function decide({ rows, above, below, following, paused, reading, held, upToDate }) {
  const length = rows.list.length;
  if (paused) return { dropFirst: 0, stop: false, go: false, earlier: above < FEW_ABOVE };
  if (following) {
    const surplus = length > MOST_ROWS ? length - MOST_ROWS + DROPPED_AT_ONCE : 0;
    const dropFirst = Math.max(surplus, overweight(rows, length - KEPT_AT_LEAST));
    return { dropFirst, stop: false, go: held, earlier: upToDate && length < FEW_IN_ALL };
  }
  const wants = held && below < FEW_BELOW;
  const spare = rows.full ? above - KEPT_AT_LEAST : 0;
  const dropFirst = wants ? Math.max(above - KEPT_ABOVE, overweight(rows, spare)) : 0;
  return {
    dropFirst: Math.max(0, dropFirst),
    stop: reading && (below > ENOUGH_BELOW || rows.full),
    go: wants && (!rows.full || dropFirst > 0),
    earlier: above < FEW_ABOVE,
  };
}

/** Return from which row on to drop rows, when some were added before the first one. */
export function dropFrom({ rows, below, following }) {
  const length = rows.list.length;
  if (!rows.full || following) return length;
  const spare = rows.bytes > MOST_BYTES ? Math.ceil((below - KEPT_AT_LEAST) / 2) : below - ENOUGH_BELOW;
  return length - Math.max(0, spare);
}

/** Return how many offsets to go back at once, by how large the items have been. */
export function earlierSpan(rows) {
  const each = rows.bytes / Math.max(rows.items, 1);
  return Math.max(5, Math.min(EARLIER_ROWS, Math.floor(EARLIER_BYTES / Math.max(each, 1))));
}

/** Rows to drop because of their bytes, at most `spare`. */
function overweight(rows, spare) {
  if (rows.bytes <= MOST_BYTES) return 0;
  return Math.max(0, Math.min(spare, Math.ceil(rows.list.length / 8)));
}

/** Return the offset to read from for one who wants to look at a place. */
export function beginAt(place, { head, base }) {
  if (place === "start") return base;
  const wanted = place === "latest" ? head - BACKFILL : Math.min(place, head) - CONTEXT;
  return Math.max(base, wanted);
}
