/**
 * Reads the newest items of all streams that the tabs of this browser show, over one connection for
 * each login: browsers open only six connections to a host, for all tabs together.
 *
 * A tab catches up by itself, and then joins here with the place that it has reached. If anything
 * goes wrong here, the tab is told, and goes on by itself from where it was.
 *
 * A tab sends `{kind: "join", key, login, id, token}`, `{kind: "leave", key}`,
 * `{kind: "took", size}`, `{kind: "here"}` and `{kind: "bye"}`. It is sent `{kind: "beat"}`,
 * `{kind: "events", key, events, size}` and `{kind: "lost", key}`.
 */

import { Api } from "./api.js";
import { eventsIn, Watch } from "./event_stream.js";
import { MOST_STREAMS, unwrap } from "./several.js";

const BEAT_MS = 4000;
// Even in the background, a tab answers each beat, unless the browser has put it to sleep.
const TAB_SILENCE_MS = 60_000;
// Joins that come within this time share one new connection.
const GATHER_MS = 20;
// How many characters may have been sent to a tab that it has not taken in yet.
const MOST_UNTAKEN = 8 * 1024 * 1024;

const logins = new Map();
const tabs = new Set();

/** The streams that the tabs of one login show. */
class Login {
  constructor(text) {
    this._text = text;
    this._api = new Api(() => text);
    this._members = new Set();
    this._stop = new AbortController();
    this._timer = 0;
  }

  add(member) {
    this._members.add(member);
    // Always over a new connection, so that the tab's permission to read is checked when it joins.
    this._reopen();
  }

  remove(member) {
    if (!this._members.delete(member)) return;
    if (this._members.size > 0) return this._reopen();
    this._end();
  }

  _reopen() {
    this._close();
    this._timer = setTimeout(() => this._run(), GATHER_MS);
  }

  _close() {
    clearTimeout(this._timer);
    this._stop.abort();
  }

  async _run() {
    const { signal } = (this._stop = new AbortController());
    for (;;) {
      const places = this._places();
      let closing = "";
      try {
        closing = await this._read(places, signal);
      } catch {
        // Each tab finds out for its own stream what is wrong.
      }
      if (signal.aborted) return;
      if (closing !== "recycled") return this._lose([...this._members]);
    }
  }

  /** Return the places to read from, each with the members that stand there. */
  _places() {
    const places = new Map();
    for (const member of [...this._members]) {
      const key = JSON.stringify([member.id, member.token]);
      if (!places.has(key) && places.size === MOST_STREAMS) this._lose([member]);
      else places.set(key, [...(places.get(key) ?? []), member]);
    }
    return [...places.values()];
  }

  /** Read until the connection ends; return the reason that it gave. */
  async _read(places, outer) {
    const silent = new AbortController();
    const signal = AbortSignal.any([outer, silent.signal]);
    const watch = new Watch(() => silent.abort());
    try {
      const wanted = places.map(([{ id, token }]) => ({ id, token }));
      const response = await this._api.followSeveral(wanted, signal);
      let closing = "";
      for await (const events of eventsIn(response, watch)) {
        if (signal.aborted) break;
        closing = this._hand(events, places) || closing;
      }
      return closing;
    } finally {
      watch.stop();
      silent.abort();
    }
  }

  /** Pass events on to their members; return why the connection ends if an event says so. */
  _hand(events, places) {
    let closing = "";
    const handed = places.map(() => []);
    for (const event of events) {
      const own = unwrap(event);
      if (own === null) closing = JSON.parse(event.data).closing ?? closing;
      else if (tellsProblem(own.event)) this._lose(places[own.index]);
      else handed[own.index].push(own);
    }
    for (const [index, own] of handed.entries()) {
      if (own.length === 0) continue;
      for (const member of places[index]) if (this._members.has(member)) member.take(own);
    }
    return closing;
  }

  /** Let members go on by themselves. */
  _lose(members) {
    for (const member of members) if (this._members.delete(member)) member.lose();
    if (this._members.size === 0) this._end();
  }

  _end() {
    this._close();
    logins.delete(this._text);
  }
}

/** Whether this event says that a stream cannot be read now. */
function tellsProblem({ event, data }) {
  return event === "control" && "problem" in JSON.parse(data);
}

/** A tab's interest in one stream. */
class Member {
  constructor(tab, { key, login, id, token }) {
    Object.assign(this, { id, token, _tab: tab, _key: key });
    this.login = loginOf(login);
    this.login.add(this);
  }

  take(own) {
    this.token = own.at(-1).token;
    const events = own.map(({ event }) => event);
    const size = events.reduce((sum, { data }) => sum + data.length, 0);
    this._tab.send({ kind: "events", key: this._key, events, size });
    this._tab.untaken += size;
    if (this._tab.untaken > MOST_UNTAKEN) this._tab.drop();
  }

  leave() {
    this.login.remove(this);
  }

  lose() {
    this._tab.lose(this._key);
  }
}

class Tab {
  constructor(port) {
    this._port = port;
    this._members = new Map();
    this.heard = Date.now();
    this.untaken = 0;
    port.onmessage = ({ data }) => this._hear(data);
    this.send({ kind: "beat" });
  }

  send(message) {
    this._port.postMessage(message);
  }

  lose(key) {
    this._members.delete(key);
    this.send({ kind: "lost", key });
  }

  /** Send nothing more, since the tab does not take in what it gets, or is gone. */
  drop() {
    for (const [key, member] of [...this._members]) {
      member.leave();
      this.lose(key);
    }
  }

  _hear(message) {
    this.heard = Date.now();
    if (message.kind === "join") this._members.set(message.key, new Member(this, message));
    else if (message.kind === "leave") this._leave(message.key);
    else if (message.kind === "took") this.untaken -= message.size;
    else if (message.kind === "bye") this.close();
  }

  _leave(key) {
    this._members.get(key)?.leave();
    this._members.delete(key);
  }

  close() {
    for (const key of [...this._members.keys()]) this._leave(key);
    tabs.delete(this);
    this._port.close();
  }
}

function loginOf(text) {
  if (!logins.has(text)) logins.set(text, new Login(text));
  return logins.get(text);
}

setInterval(() => {
  for (const tab of [...tabs]) {
    if (Date.now() - tab.heard > TAB_SILENCE_MS) tab.close();
    else tab.send({ kind: "beat" });
  }
}, BEAT_MS);

self.onconnect = ({ ports: [port] }) => tabs.add(new Tab(port));
