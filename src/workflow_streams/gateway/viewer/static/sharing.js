/** Connects a tab to the worker that reads for all tabs, if the browser has shared workers. */

// Change the name with the form of the messages, since open tabs may be of different versions.
const NAME = "workflow-streams-1";
// The worker sends a beat every 4 s.
const SILENCE_MS = 12_000;
const READY_MS = 10_000;
const AGAIN_MS = 30_000;

export class Sharing {
  constructor() {
    this._port = null;
    /** Whether there is a worker to join. */
    this.alive = false;
    this._joined = new Map();
    this._keys = 0;
    this._waiting = [];
    this._notBefore = 0;
    // The page may be shown again later. Then this starts anew.
    window.addEventListener("pagehide", () => this._lose());
  }

  /** Whether there is no worker yet, but it is worth waiting for one. */
  get wanted() {
    return !this.alive && typeof SharedWorker === "function" && Date.now() >= this._notBefore;
  }

  /** Start the worker if necessary, and wait for it for a limited time. */
  async ready() {
    if (!this.wanted) return;
    if (this._port === null) this._start();
    if (this._port === null) return;
    await new Promise((resolve) => {
      setTimeout(resolve, READY_MS);
      this._waiting.push(resolve);
    });
  }

  /**
   * Have the worker read a stream for this tab, from a token on. `hear(events)` is called with what
   * comes, `lost()` when nothing more will come. Return a function that ends this.
   */
  join({ login, id, token, hear, lost }) {
    if (!this.alive) {
      queueMicrotask(lost);
      return () => {};
    }
    const key = (this._keys += 1);
    this._joined.set(key, { hear, lost });
    this._send({ kind: "join", key, login, id, token });
    return () => {
      if (this._joined.delete(key)) this._send({ kind: "leave", key });
    };
  }

  _start() {
    try {
      const worker = new SharedWorker(scriptUrl(), { type: "module", name: NAME });
      worker.onerror = () => this._port === worker.port && this._fail();
      this._port = worker.port;
      this._port.onmessage = ({ data }) => worker.port === this._port && this._hear(data);
      this._watch();
    } catch {
      this._fail();
    }
  }

  _hear(message) {
    this._watch();
    if (!this.alive) this._settle(true);
    if (message.kind === "beat") return this._send({ kind: "here" });
    const joined = this._joined.get(message.key);
    if (message.kind === "events") {
      this._send({ kind: "took", size: message.size });
      return joined?.hear(message.events);
    }
    this._joined.delete(message.key);
    joined?.lost();
  }

  _send(message) {
    this._port?.postMessage(message);
  }

  _watch() {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => (this.alive ? this._lose() : this._fail()), SILENCE_MS);
  }

  _settle(alive) {
    this.alive = alive;
    for (const go of this._waiting.splice(0)) go();
  }

  /** Do without a worker for a while. */
  _fail() {
    this._notBefore = Date.now() + AGAIN_MS;
    this._lose();
  }

  /** Give up this worker; another one may be started later. */
  _lose() {
    clearTimeout(this._timer);
    this._send({ kind: "bye" });
    this._port?.close();
    this._port = null;
    this._settle(false);
    const joined = [...this._joined.values()];
    this._joined.clear();
    for (const { lost } of joined) lost();
  }
}

let policy = null;

/** Return the worker's address, in a form that the page's CSP accepts for a script. */
function scriptUrl() {
  const url = String(new URL("shared_worker.js", import.meta.url));
  if (typeof trustedTypes === "undefined") return url;
  policy ??= trustedTypes.createPolicy("shared-worker", { createScriptURL: () => url });
  return policy.createScriptURL("");
}
