/** Reading an event stream out of a response, and noticing when nothing comes any more. */

import { SseParser } from "./sse.js";

// The gateway sends something every 15 s, so that after this long the connection is dead.
const SILENCE_MS = 40_000;

/** Calls `silent` when nothing has been heard for too long. */
export class Watch {
  constructor(silent) {
    this._silent = silent;
    this.heard();
  }

  heard() {
    clearTimeout(this._timer);
    this._timer = setTimeout(this._silent, SILENCE_MS);
  }

  stop() {
    clearTimeout(this._timer);
  }
}

/**
 * Yield the events of a response until it ends: an array for each piece that is read, which is
 * empty if no event is complete. Tells `watch` of each piece.
 */
export async function* eventsIn(response, watch) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new SseParser();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    watch.heard();
    yield parser.feed(value);
  }
}
