/** Those parts of the gateway's HTTP interface that this page needs. */

import { offsetOf } from "./place.js";

// This file is served one folder below the gateway's root, wherever the gateway is mounted.
const ROOT = new URL("..", import.meta.url);
const TIMEOUT_MS = 30_000;

/** A request failed; `status` is that of the answer, or 0 if none came. */
export class ApiError extends Error {
  constructor(status, message, { retryAfter = 0, slug = "", login = "" } = {}) {
    super(message);
    this.status = status;
    this.login = login; // the token that was sent
    this.retryAfterMs = retryAfter * 1000;
    this.slug = slug;
  }

  /** Whether the same request may succeed later by itself. */
  get passes() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 502;
  }
}

export class Api {
  /** `token()` returns the bearer token to send, or an empty string. */
  constructor(token) {
    this._token = token;
  }

  /** The token that is sent at present. */
  get login() {
    return this._token();
  }

  /** Return `{streams, next_page}`. */
  async list({ state, prefix = "", page = "", limit, signal }) {
    const query = new URLSearchParams({ state, limit: String(limit) });
    if (prefix) query.set("prefix", prefix);
    if (page) query.set("page", page);
    const response = await this._ask(`v1/streams?${query}`, { signal });
    return response.json();
  }

  /** Return what the gateway tells of a stream without reading it. */
  async describe(id, signal) {
    const { headers } = await this._askHead(streamPath(id), signal);
    const offset = (name) => (headers.has(name) ? offsetOf(headers.get(name)) : null);
    return {
      contentType: headers.get("content-type") ?? "",
      head: offset("stream-next-offset") ?? 0,
      base: offset("stream-base-offset") ?? 0,
      closed: headers.get("stream-closed") === "true",
      outcome: headers.get("stream-outcome"),
    };
  }

  /** Open a stream's events from a token on. The caller reads the body of the response. */
  follow(id, { token, topics, signal }) {
    const query = new URLSearchParams({ offset: token, live: "sse" });
    for (const topic of topics) query.append("topic", topic);
    return this._ask(`${streamPath(id)}?${query}`, { signal, limitMs: 0 });
  }

  /** Open the events of several streams, `{id, token}` each; see `follow`. */
  followSeveral(streams, signal) {
    const query = new URLSearchParams();
    for (const { id, token } of streams) {
      query.append("id", id.toWellFormed());
      query.append("offset", token);
    }
    return this._ask(`v1/streams/events?${query}`, { signal, limitMs: 0 });
  }

  /** Ask the stream's workflow to cancel. */
  async cancel(id) {
    await this._ask(`${streamPath(id)}/cancel`, { method: "POST" });
  }

  async _askHead(path, signal) {
    try {
      return await this._ask(path, { method: "HEAD", signal });
    } catch (error) {
      // The answer to a HEAD has no body. Ask again by GET, to learn the reason.
      if (!error.status || error.passes) throw error;
      return this._ask(`${path}?offset=now`, { signal });
    }
  }

  async _ask(path, { method = "GET", signal = null, limitMs = TIMEOUT_MS } = {}) {
    const headers = {};
    const login = this._token();
    if (login) headers.authorization = `Bearer ${login}`;
    const signals = [signal, limitMs ? AbortSignal.timeout(limitMs) : null].filter(Boolean);
    const init = { method, headers, cache: "no-store", credentials: "same-origin" };
    let response;
    try {
      response = await fetch(new URL(path, ROOT), { ...init, signal: AbortSignal.any(signals) });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError(0, "The gateway does not answer.");
    }
    if (!response.ok) throw await refusalIn(response, login);
    return response;
  }
}

function streamPath(id) {
  // Otherwise a lone surrogate, which no id contains, would make this throw.
  return `v1/stream/${encodeURIComponent(id.toWellFormed())}`;
}

async function refusalIn(response, login) {
  let problem = {};
  try {
    problem = await response.json();
  } catch {
    // HEAD has no body, and a proxy's answer may not be JSON: then there is only the status.
  }
  const retryAfter = Number(response.headers.get("retry-after")) || 0;
  const message = problem.detail ?? problem.title ?? `The gateway answered ${response.status}.`;
  const slug = String(problem.type ?? "").replace("urn:workflow-streams:", "");
  return new ApiError(response.status, String(message), { retryAfter, slug, login });
}
