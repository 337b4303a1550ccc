/** Where to go on in a stream: a token of the gateway's, which is sent back as it came. */

const DIGITS = 20;

/** Return the offset that a token begins with; what may follow is the gateway's own affair. */
export function offsetOf(token) {
  return Number.parseInt(token, 10);
}

/** Return the token to go on at an offset: `known` if it is of that offset, else the bare number. */
export function tokenAt(offset, known) {
  return known !== "" && offsetOf(known) === offset ? known : String(offset).padStart(DIGITS, "0");
}
