/** Growing pauses between attempts, cut short when the network is back or the page is shown. */

const FIRST_MS = 300;
const LONGEST_MS = 15_000;

export class Backoff {
  constructor() {
    this.failures = 0;
    this._hurry = null;
  }

  reset() {
    this.failures = 0;
  }

  /** Return the next pause in milliseconds. It is random, so that many clients spread out. */
  next(atLeast = 0) {
    const full = Math.min(LONGEST_MS, FIRST_MS * 2 ** this.failures);
    this.failures += 1;
    return Math.max(atLeast, full * (0.5 + Math.random() / 2));
  }

  /** Wait, but only until `hurry()` is called or the signal is aborted. */
  wait(milliseconds, signal) {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        window.removeEventListener("online", done);
        document.removeEventListener("visibilitychange", shown);
        signal.removeEventListener("abort", done);
        this._hurry = null;
        resolve();
      };
      const shown = () => document.hidden || done();
      const timer = setTimeout(done, milliseconds);
      window.addEventListener("online", done);
      document.addEventListener("visibilitychange", shown);
      signal.addEventListener("abort", done);
      this._hurry = done;
      if (signal.aborted) done();
    });
  }

  hurry() {
    this._hurry?.();
  }
}
