/** The page: shows the stream that its address names, and connects keys with actions. */

import { Api } from "./api.js";
import { byId, setText } from "./dom.js";
import { Keyboard } from "./keys.js";
import { ListView } from "./list_view.js";
import * as route from "./route.js";
import { Sharing } from "./sharing.js";
import { StreamView } from "./stream_view.js";
import { Theme } from "./theme.js";
import { Token } from "./token.js";

const TOAST_MS = 2500;

const token = new Token(() => {
  list.retry();
  stream.session?.hurry();
});
const api = new Api(() => token.get());
const denied = (error) => error.login === token.get() && token.ask(error.message);
const theme = new Theme(byId("theme"));
const list = new ListView(api, { denied });
const stream = new StreamView({ api, sharing: new Sharing(), navigate, say, toast, denied });

let current = route.parse(location.hash);

function show() {
  const before = current.id;
  current = route.parse(location.hash);
  document.documentElement.dataset.show = current.id === null ? "list" : "stream";
  document.title = current.id === null ? "Streams" : `${current.id.slice(0, 200)} · Streams`;
  list.current = current.id;
  stream.show(current);
  if (current.id !== null && current.id !== before) byId("items").focus({ preventScroll: true });
}

/** Change the address in place, so that "back" leads to another stream, not to a former view. */
function navigate(changes) {
  current = { ...current, ...changes };
  history.replaceState(null, "", route.format(current));
  show();
}

function say(text) {
  setText(byId("said"), text);
}

let toastTimer = 0;

function toast(text) {
  setText(byId("toast"), text);
  say(text);
  byId("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (byId("toast").hidden = true), TOAST_MS);
}

function focus(id) {
  if (byId(id).offsetParent === null) return false;
  byId(id).focus();
  byId(id).select();
  return true;
}

function escape() {
  const { activeElement } = document;
  // An element in a dialog that was just closed may still have the focus.
  const inField = activeElement?.matches("input, select") && !activeElement.closest("dialog");
  if (stream.session !== null && inField) byId("items").focus();
  else if (stream.closeDetails()) return true;
  else if (current.id !== null) location.hash = "#/";
  else return false;
  return true;
}

/** Wrap an action that makes sense only while a stream is open. */
const inStream = (act) => () => (stream.session === null ? false : act());
const inItems = (act) => inStream(() => (byId("items").hidden ? false : act()));

new Keyboard(
  {
    help: () => byId("help-dialog").showModal(),
    findStream: () => list.focus(),
    theme: () => toast(`Colours: ${theme.next()}`),
    escape,
    pause: inStream(() => stream.togglePause()),
    start: inStream(() => stream.goTo("start")),
    latest: inStream(() => stream.goTo("latest")),
    offset: inStream(() => focus("offset")),
    search: inStream(() => focus("search")),
    view: inStream(() => navigate({ view: current.view === "text" ? "items" : "text" })),
    fold: inItems(() => stream.items.foldAll()),
    markerBefore: inItems(() => stream.items.moveToMarker(-1)),
    markerAfter: inItems(() => stream.items.moveToMarker(1)),
    down: inItems(() => stream.items.move(1)),
    up: inItems(() => stream.items.move(-1)),
    pageDown: inItems(() => stream.items.move(stream.items.pageRows)),
    pageUp: inItems(() => stream.items.move(-stream.items.pageRows)),
    open: inItems(() => stream.items.open()),
    copy: inItems(() => stream.copyValue()),
  },
  (target) => target === document.body || target.closest("#items, #text") !== null,
);

byId("help").addEventListener("click", () => byId("help-dialog").showModal());
window.addEventListener("hashchange", show);
show();
