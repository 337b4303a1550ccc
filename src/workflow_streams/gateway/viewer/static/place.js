/** Tokens of the gateway, which say where to resume in a stream. They are sent back unchanged. */

const DIGITS = 20;

/** Return the offset that a token begins with. The rest means something to the gateway only. */
export function offsetOf(token) {
  return Number.parseInt(token, 10);
}

/** Return a token to resume at an offset: `known` if it has that offset, or the plain number. */
export function tokenAt(offset, known) {
  return known !== "" && offsetOf(known) === offset ? known : String(offset).padStart(DIGITS, "0");
}
