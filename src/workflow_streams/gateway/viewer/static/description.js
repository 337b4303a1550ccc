/** Asks the gateway to describe a stream: until it answers, and then at intervals. */

const AGAIN_MS = 4000;

/**
 * Return the stream's description; null if `signal` was aborted first.
 *
 * `tell` is called with the states "connecting" and "waiting". Throws an error that does not pass.
 */
export async function describeAtLast({ api, id, backoff, signal, tell }) {
  for (;;) {
    tell("connecting");
    try {
      const described = await api.describe(id, signal);
      backoff.reset();
      return signal.aborted ? null : described;
    } catch (error) {
      if (signal.aborted) return null;
      if (!error.passes) throw error;
      const pause = backoff.next(error.retryAfterMs);
      tell("waiting", { until: Date.now() + pause, reason: error.message });
      await backoff.wait(pause, signal);
      if (signal.aborted) return null;
    }
  }
}

/** Asks at intervals, until stopped, where a stream begins and ends. */
export class HeadWatch {
  constructor({ api, id, hear, fail }) {
    Object.assign(this, { _api: api, _id: id, _hear: hear, _fail: fail, _stop: null });
  }

  async start() {
    this.stop();
    const { signal } = (this._stop = new AbortController());
    while (!signal.aborted) {
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      if (signal.aborted) return;
      if (document.hidden) continue;
      try {
        const described = await this._api.describe(this._id, signal);
        if (signal.aborted) return;
        this._hear(described);
        if (described.closed) return;
      } catch (error) {
        if (!signal.aborted && !error.passes) this._fail(error);
      }
    }
  }

  stop() {
    this._stop?.abort();
  }
}
