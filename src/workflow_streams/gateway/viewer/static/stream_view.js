/** An open stream in the page: its session, and the views that show it. */

import { Details } from "./details.js";
import { byId, oncePerFrame, setAll, setText } from "./dom.js";
import * as format from "./format.js";
import { ItemsView } from "./items_view.js";
import { markerText } from "./row_view.js";
import { Session } from "./session.js";
import { StatusView } from "./status_view.js";
import { TextView } from "./text_view.js";
import { TopicsView } from "./topics_view.js";
import { exact, visible } from "./values.js";

// The session counts rows. Text of up to this height counts as none of them, more as FAR_ROWS.
const NEAR_PX = 1500;
const FAR_ROWS = 1000;

export class StreamView {
  /** `navigate(changes)` changes the address; `say(text)` speaks to screen readers. */
  constructor({ api, sharing, navigate, say, toast, denied }) {
    Object.assign(this, { _api: api, _sharing: sharing, _navigate: navigate });
    Object.assign(this, { _say: say, _toast: toast, _denied: denied });
    this.session = null;
    this._view = "items";
    this._draw = oncePerFrame(() => this._drawNow());
    this._status = new StatusView({ say });
    this._details = new Details({
      closed: () => byId("items").focus(),
      copy: (text, what) => this.copy(text, what),
    });
    this.items = new ItemsView({
      scroller: byId("items"),
      canvas: byId("items-canvas"),
      chosen: (row) => this._details.row && row?.kind === "item" && this._details.show(row),
      opened: (row) => this._details.show(row),
    });
    this._text = new TextView({
      scroller: byId("text"),
      body: byId("text-body"),
      field: byId("field"),
      onScroll: (place) => this._textScrolled(place),
    });
    this._text.onChange = this._draw;
    this._topics = new TopicsView(byId("topics"), {
      changed: (topics) => this._navigate({ topics: [...topics] }),
    });
    this._listen();
    setInterval(() => document.hidden || this._draw(), 1000);
  }

  /** Show the stream that the address names; `id` is null for none. */
  show({ id, from, topics, view }) {
    this._showView(view);
    const { session } = this;
    if (session?.id === id) return this._change(from, topics);
    this.close();
    byId("stream").hidden = id === null;
    byId("nothing").hidden = id !== null;
    if (id === null) return;
    const opened = (this.session = new Session(this._api, this._sharing, id));
    for (const name of ["change", "state"]) opened.addEventListener(name, this._draw);
    opened.addEventListener("marker", ({ detail }) => this._tellMarker(opened, detail));
    opened.addEventListener("denied", ({ detail }) => this._denied(detail));
    opened.chosen = new Set(topics);
    for (const topic of topics) opened.topics.add(topic);
    this._from = from;
    setText(byId("title-id"), visible(id));
    byId("title-id").title = visible(id);
    byId("search").value = "";
    this.items.use(opened);
    opened.open(from);
    this._drawNow();
  }

  close() {
    this.session?.close();
    this.session = null;
    this._details.close();
    this._topics.clear();
    this._text.clear();
    this.items.use(null);
  }

  /** Close the details if they are open. */
  closeDetails() {
    return this._details.close();
  }

  togglePause() {
    if (this.session.paused) this.session.resume();
    else this.session.pause();
  }

  copyValue() {
    const row = this.items.active;
    if (row === null || row.kind !== "item") return false;
    this.copy(exact(row.value), "The value");
  }

  goTo(place) {
    this._from = place;
    this._navigate({ from: place });
    this.session.goTo(place);
    byId("items").focus({ preventScroll: true });
  }

  async copy(text, what) {
    try {
      await navigator.clipboard.writeText(text);
      this._toast(`${what} is copied`);
    } catch {
      this._toast("The browser does not let this page copy");
    }
  }

  async cancel() {
    const { id } = this.session;
    try {
      await this._api.cancel(id);
      this._toast("The workflow is asked to cancel");
    } catch (error) {
      this._toast(error.message);
      if (error.status === 401) this._denied(error);
    }
  }

  _change(from, topics) {
    const { session } = this;
    if ([...session.chosen].join("\0") !== topics.join("\0")) {
      session.choose(topics, this.items.topOffset);
    } else if (from !== this._from) {
      session.goTo(from);
    }
    this._from = from;
    this._draw();
  }

  _listen() {
    byId("pause").addEventListener("click", () => this.togglePause());
    byId("to-start").addEventListener("click", () => this.goTo("start"));
    byId("to-latest").addEventListener("click", () => this.goTo("latest"));
    byId("newer").addEventListener("click", () => this.goTo("latest"));
    byId("connection").addEventListener("click", () => this.session.hurry());
    byId("copy-id").addEventListener("click", () => this.copy(this.session.id, "The id"));
    byId("search").addEventListener("input", () => {
      this.items.query = byId("search").value.trim();
      this._draw();
    });
    byId("to-offset").addEventListener("submit", (event) => {
      event.preventDefault();
      const { value } = byId("offset");
      if (/^\d+$/.test(value)) this.goTo(Number(value));
    });
    for (const input of document.querySelectorAll("input[name=view]")) {
      input.addEventListener("change", () => this._navigate({ view: input.value }));
    }
    const dialog = byId("cancel-dialog");
    byId("cancel").addEventListener("click", () => {
      setText(byId("cancel-id"), visible(this.session.id));
      dialog.returnValue = "";
      dialog.showModal();
    });
    dialog.addEventListener("close", () => dialog.returnValue === "cancel" && this.cancel());
  }

  _showView(view) {
    this._view = view;
    const text = view === "text";
    const [shown, other] = text ? ["text", "items"] : ["items", "text"];
    const focused = document.activeElement === byId(other);
    byId(other).hidden = true;
    byId(shown).hidden = false;
    if (focused) byId(shown).focus({ preventScroll: true });
    byId("field-label").hidden = !text;
    byId("search").hidden = text;
    for (const input of document.querySelectorAll("input[name=view]")) input.checked = input.value === view;
    if (text) this._details.close();
    this._draw();
  }

  _drawNow() {
    const { session } = this;
    if (session === null) return;
    this._status.draw(session);
    this._topics.draw(session.topics, session.chosen, (topic) => this.items.hues.of(topic));
    if (this._view === "items") this.items.show();
    else this._text.show(session.rows, session.following);
    this._drawPause(session);
    this._drawNote(session);
    this._drawNewer(session);
  }

  _drawPause({ paused }) {
    setText(byId("pause-text"), paused ? "Go on" : "Pause");
    byId("pause-icon").setAttribute("href", paused ? "#icon-play" : "#icon-pause");
    setAll(byId("pause"), { "aria-pressed": String(paused) });
  }

  _drawNote(session) {
    const { state, rows } = session;
    let text = "";
    if (state.name === "refused" && state.error.status === 404) text = "There is no stream of this id.";
    else if (state.name === "refused") text = state.error.message;
    else if (rows.list.length === 0 && state.name === "waiting") text = state.reason;
    else if (rows.items === 0 && session.upToDate) text = "No items yet. They appear here as they come.";
    else if (this.items.query && !this.items.shown.some(({ kind }) => kind === "item")) {
      text = "None of the items that are loaded matches.";
    }
    setText(byId("note"), text);
    byId("note").hidden = text === "";
  }

  _drawNewer(session) {
    const { following, lag, paused } = session;
    setText(byId("newer-text"), lag ? `${format.count(lag, "item")} to the latest` : "Latest");
    byId("newer").hidden = following || paused || session.rows.list.length === 0;
  }

  _textScrolled({ above, below, atEnd }) {
    if (this.session === null || this._view !== "text") return;
    this.session.look(above < NEAR_PX ? 0 : FAR_ROWS, below < NEAR_PX ? 0 : FAR_ROWS, atEnd);
  }

  _tellMarker(session, notice) {
    const rewind = notice.kind === "rewind" ? session.log.rewind(notice.key) : notice;
    this._say(markerText(rewind));
  }
}
