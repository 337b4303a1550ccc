/** Shows the list of streams in the page: to find them by name, and open them by click or key. */

import { byId, make, oncePerFrame, setAll, setText } from "./dom.js";
import * as format from "./format.js";
import * as route from "./route.js";
import { Streams } from "./streams.js";
import { visible } from "./values.js";

const MOST_DRAWN = 500;

export class ListView {
  constructor(api, { denied }) {
    this._list = byId("streams");
    this._find = byId("find");
    this._status = byId("list-status");
    this._more = byId("list-more");
    this._open = byId("list-open");
    this._rows = new Map();
    this._current = null;
    this._error = null;
    this._draw = oncePerFrame(() => this._drawNow());
    this._streams = new Streams(api, {
      changed: () => this._heard(null),
      failed: (error) => {
        this._heard(error);
        if (error.status === 401) denied(error);
      },
    });
    this._watch = this._watchVisible();
    this._find.addEventListener("input", () => this._findChanged());
    this._find.addEventListener("keydown", (event) => this._findKey(event));
    this._more.addEventListener("click", () => this._streams.loadMore());
    this._list.addEventListener("keydown", (event) => this._listKey(event));
    for (const input of document.querySelectorAll("input[name=state]")) {
      input.addEventListener("change", () => this._streams.show(input.value));
    }
    this._streams.start();
  }

  /** Mark the stream that is open. */
  set current(id) {
    this._current = id;
    this._draw();
  }

  /** Ask again, for example with another token. */
  retry() {
    this._streams.refresh();
  }

  focus() {
    this._find.focus();
    this._find.select();
  }

  /** Return the entry of a stream; undefined if it is not listed. */
  entry(id) {
    return this._streams.entries.get(id);
  }

  _heard(error) {
    this._error = error;
    this._draw();
  }

  _found() {
    const query = this._find.value.trim().toLowerCase();
    const entries = [...this._streams.entries.values()];
    entries.sort((a, b) => (a.started < b.started ? 1 : a.started > b.started ? -1 : 0));
    if (!query) return entries;
    return entries.filter(({ id, type }) => {
      return id.toLowerCase().includes(query) || String(type).toLowerCase().includes(query);
    });
  }

  _drawNow() {
    const found = this._found();
    const drawn = found.slice(0, MOST_DRAWN);
    const ids = new Set(drawn.map(({ id }) => id));
    for (const [id, row] of this._rows) {
      if (ids.has(id)) continue;
      this._watch.unobserve(row);
      row.remove();
      this._rows.delete(id);
    }
    let before = null;
    for (const entry of drawn) {
      const row = this._rowOf(entry);
      const next = before === null ? this._list.firstChild : before.nextSibling;
      if (next !== row) this._list.insertBefore(row, next);
      before = row;
    }
    this._drawFoot(found.length);
  }

  _drawFoot(n) {
    const { loaded, more, entries } = this._streams;
    const query = this._find.value.trim();
    let status = "Loading…";
    if (this._error) status = this._error.message;
    else if (loaded && query) status = `${format.number(n)} of ${format.count(entries.size, "stream")}`;
    else if (loaded) status = `${format.count(n, "stream")}${more ? " so far" : ""}`;
    setText(this._status, status);
    this._status.classList.toggle("bad", this._error !== null);
    byId("no-streams").hidden = !loaded || entries.size > 0 || this._error !== null;
    this._more.hidden = !more;
    // A stream that is not listed may still exist: hosted by the contrib, or on a later page.
    this._open.hidden = !query || entries.has(query);
    setAll(this._open, { href: route.format({ id: query || null }) });
    setText(byId("list-open-id"), visible(query));
  }

  _rowOf(entry) {
    let row = this._rows.get(entry.id);
    if (row === undefined) {
      row = makeRow(entry);
      this._rows.set(entry.id, row);
      this._watch.observe(row);
    }
    drawRow(row, entry, entry.id === this._current);
    return row;
  }

  _watchVisible() {
    const inView = new Set();
    return new IntersectionObserver((changes) => {
      for (const { target, isIntersecting } of changes) {
        if (isIntersecting) inView.add(target.id_);
        else inView.delete(target.id_);
      }
      this._streams.look(inView);
    });
  }

  _findChanged() {
    this._streams.find(this._find.value.trim());
    this._draw();
  }

  _findKey(event) {
    if (event.key === "ArrowDown") this._list.querySelector("a")?.focus();
    else if (event.key === "Enter") (this._list.querySelector("a") ?? this._open).click();
    else if (event.key === "Escape" && this._find.value) {
      this._find.value = "";
      this._findChanged();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  _listKey(event) {
    const row = document.activeElement.closest("li");
    const to = { ArrowDown: row?.nextSibling, ArrowUp: row?.previousSibling }[event.key];
    if (to === undefined) return;
    (to?.querySelector("a") ?? this._find).focus();
    event.preventDefault();
  }
}

function makeRow({ id }) {
  const link = make("a", { href: route.format({ id }), class: "stream-link" });
  link.append(
    make("span", { class: "dot", "aria-hidden": "true" }),
    make("bdi", { class: "stream-id" }, visible(id)),
    make("span", { class: "stream-rate" }),
    make("span", { class: "stream-about" }),
    make("span", { class: "stream-head" }),
  );
  const row = make("li", {}, link);
  row.id_ = id;
  return row;
}

function drawRow(row, entry, current) {
  const [link] = row.children;
  const [dot, , rate, about, head] = link.children;
  const running = entry.state === "running";
  const state = running ? "running" : (entry.outcome ?? "closed");
  dot.className = `dot ${dotOf(state)}`;
  setText(rate, running && entry.rate !== null ? format.rate(entry.rate) : "");
  const since = Date.parse(entry.closed ?? "");
  const ago = running || Number.isNaN(since) ? "" : ` ${format.ago(since)} ago`;
  setText(about, `${format.outcome(state)}${ago}${entry.type ? ` · ${visible(entry.type)}` : ""}`);
  setText(head, entry.head === null ? "" : format.count(entry.head, "item"));
  setAll(link, { "aria-current": current ? "page" : null, title: visible(entry.id) });
}

/** The colour class of a state or outcome. */
export function dotOf(state) {
  if (state === "running") return "live";
  if (state === "completed") return "good";
  return state === "failed" || state === "timed_out" || state === "terminated" ? "bad" : "idle";
}

