/** Decides how much of a stream to hold around the rows in view; the session acts on that. */

import { MOST_BYTES, MOST_ROWS } from "./rows.js";

// With more rows than the first below those in view, reading stops; with fewer than the second, it
// goes on.
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
 * `above` and `below` are the numbers of rows before and after those in view. `reading` says
 * whether more is being read at the end, `held` whether reading there was stopped.
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

/** Return the index from which on to drop rows, after some were added at the top. */
export function dropFrom({ rows, below, following }) {
  const length = rows.list.length;
  if (!rows.full || following) return length;
  const spare = rows.bytes > MOST_BYTES ? Math.ceil((below - KEPT_AT_LEAST) / 2) : below - ENOUGH_BELOW;
  return length - Math.max(0, spare);
}

/** Return how many offsets to go back at once, depending on the size of the items so far. */
export function earlierSpan(rows) {
  const each = rows.bytes / Math.max(rows.items, 1);
  return Math.max(5, Math.min(EARLIER_ROWS, Math.floor(EARLIER_BYTES / Math.max(each, 1))));
}

/** Return how many rows to drop because of their size, at most `spare`. */
function overweight(rows, spare) {
  if (rows.bytes <= MOST_BYTES) return 0;
  return Math.max(0, Math.min(spare, Math.ceil(rows.list.length / 8)));
}

/** Return the offset to read from in order to show a place. */
export function beginAt(place, { head, base }) {
  if (place === "start") return base;
  const wanted = place === "latest" ? head - BACKFILL : Math.min(place, head) - CONTEXT;
  return Math.max(base, wanted);
}
