/** Shows the state of a stream and of the connection to it, its figures and its rate. */

import { byId, setAll, setText } from "./dom.js";
import * as format from "./format.js";
import { dotOf } from "./list_view.js";
import { Sparkline } from "./sparkline.js";

export class StatusView {
  constructor({ say }) {
    this._say = say;
    this._pill = byId("connection");
    this._text = byId("connection-text");
    this._outcome = byId("outcome");
    this._spark = new Sparkline(byId("figure-rate"));
    this._said = "";
  }

  draw(session) {
    const now = Date.now();
    const { outcome, head, base, lag } = session;
    const state = outcome ?? "running";
    const known = session.contentType !== "";
    setText(this._outcome, known ? format.outcome(state) : "");
    this._outcome.className = `badge ${dotOf(state)}`;
    this._outcome.hidden = !known;
    byId("cancel").hidden = !known || outcome !== null;
    setText(byId("figure-head"), known ? format.number(head) : "–");
    setText(byId("figure-base"), known ? format.number(base) : "–");
    setText(byId("figure-lag"), known ? format.number(lag) : "–");
    byId("figure-lag").classList.toggle("behind", lag > 0);
    this._spark.draw(session.rates, now);
    this._drawConnection(session, now);
  }

  _drawConnection(session, now) {
    const { kind, text, aloud, retry, title } = connectionOf(session, now);
    setText(this._text, text);
    setAll(this._pill, { "data-kind": kind, title: title ?? null, "aria-disabled": String(!retry) });
    if (aloud !== this._said) this._say(aloud);
    this._said = aloud;
  }
}

/** Return how to show the connection. `aloud` contains no seconds, so that it is spoken once. */
function connectionOf(session, now) {
  const { state, lag, upToDate, paused, waiting } = session;
  if (state.name === "refused") {
    return { kind: "bad", text: state.error.message, aloud: state.error.message, retry: true };
  }
  if (state.name === "waiting") {
    const seconds = Math.max(0, Math.ceil((state.until - now) / 1000));
    const text = seconds ? `Reconnecting in ${seconds} s` : "Reconnecting…";
    return { kind: "bad", text, aloud: "Reconnecting", retry: true, title: `${state.reason} Press to try now.` };
  }
  if (paused) {
    const more = state.name === "holding" ? Math.max(waiting.count, lag) : waiting.count;
    return { kind: "hold", text: more ? `Paused, ${format.number(more)} waiting` : "Paused", aloud: "Paused" };
  }
  switch (state.name) {
    case "ended":
      return { kind: "idle", text: "At the end", aloud: "The whole stream is here" };
    case "holding":
      return { kind: "hold", text: `${format.short(lag)} more below`, aloud: "More is read as you scroll" };
    case "open":
      return upToDate
        ? { kind: "live", text: "Live", aloud: "Live" }
        : { kind: "busy", text: lag ? `Catching up, ${format.short(lag)} to go` : "Catching up", aloud: "Catching up" };
    default:
      return { kind: "busy", text: "Connecting…", aloud: "Connecting" };
  }
}
