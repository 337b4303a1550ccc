/** Shows items in the page; knows which are in view and which is chosen, and moves among them. */

import { Hues } from "./hues.js";
import { RowView, searchText } from "./row_view.js";
import { Selection } from "./rows.js";
import { VirtualList } from "./virtual.js";

/**
 * Shows the rows of one session after another.
 *
 * `chosen(row)` is called with the row that is chosen, or null; `opened(row)` with a row that has
 * to be shown in full.
 */
export class ItemsView {
  constructor({ scroller, canvas, chosen, opened }) {
    Object.assign(this, { _scroller: scroller, _chosen: chosen, _opened: opened });
    this.active = null;
    this._session = null;
    const rowView = new RowView({
      hueOf: (topic) => this.hues.of(topic),
      isActive: (row) => row === this.active,
    });
    this._list = new VirtualList({
      scroller,
      canvas,
      draw: (row) => rowView.draw(row),
      redraw: (element, row) => rowView.redraw(element, row),
      looked: (first, last, atEnd) => this._looked(first, last, atEnd),
    });
    canvas.addEventListener("click", (event) => this._clicked(event));
  }

  /** Show another session's rows; null for none. */
  use(session) {
    this._session = session;
    this.hues = new Hues();
    this.active = null;
    if (session === null) return this._list.show([], true);
    this._selection = new Selection(session.rows, searchText);
    session.addEventListener("jump", ({ detail }) => {
      if (session === this._session) this._jump(detail);
    });
    this.show();
  }

  get shown() {
    return this._selection.shown();
  }

  get query() {
    return this._selection.query;
  }

  set query(text) {
    this._selection.query = text;
    this.show();
  }

  show() {
    const session = this._session;
    if (this.active !== null && !session.rows.list.includes(this.active)) this.choose(null);
    this._list.show(this.shown, session.following);
    const element = this.active && this._list.elementOf(this.active);
    if (element) this._scroller.setAttribute("aria-activedescendant", element.id);
    else this._scroller.removeAttribute("aria-activedescendant");
  }

  /** The offset of the topmost row in view. */
  get topOffset() {
    return this.shown[this._list.span[0]]?.offset ?? 0;
  }

  choose(row) {
    if (row === this.active) return;
    this.active = row;
    this._chosen(row);
    if (row !== null) this._list.reveal(row);
    this.show();
  }

  /** Choose the row `by` rows further on. If none is chosen, begin with the rows in view. */
  move(by) {
    const { shown } = this;
    if (!shown.length) return;
    const [first, last] = this._list.span;
    const at = shown.indexOf(this.active);
    const to = at < 0 ? (by > 0 ? first : last) : at + by;
    this.choose(shown[Math.max(0, Math.min(to, shown.length - 1))]);
  }

  /** Choose the next marker, downwards (1) or upwards (-1). */
  moveToMarker(step) {
    const { shown } = this;
    const at = shown.indexOf(this.active);
    const from = at >= 0 ? at : step > 0 ? this._list.span[0] - 1 : this._list.span[1] + 1;
    for (let i = from + step; i >= 0 && i < shown.length; i += step) {
      if (shown[i].kind !== "item") return this.choose(shown[i]);
    }
    return false;
  }

  get pageRows() {
    const [first, last] = this._list.span;
    return Math.max(1, last - first - 1);
  }

  /** Open a row: show an item's details, or show or hide what a rewind has taken back. */
  open(row = this.active) {
    if (row === null) return false;
    if (row.kind === "rewind") this._fold(row, !row.folded);
    else if (row.kind === "item") this._opened(row);
    return true;
  }

  /** Fold all rewinds, or unfold them if all are folded. */
  foldAll() {
    const rewinds = this._session.rows.list.filter(({ kind, found }) => kind === "rewind" && found);
    const folded = rewinds.some((row) => !row.folded);
    for (const row of rewinds) this._fold(row, folded);
    return rewinds.length > 0;
  }

  _fold(row, folded) {
    row.folded = folded;
    this._session.rows.changed();
    this.show();
  }

  _jump(row) {
    this.show();
    this._list.reveal(row, "middle");
    this.choose(row.kind === "item" ? row : null);
  }

  _clicked(event) {
    const element = event.target.closest(".row");
    // Selecting text is not choosing a row.
    if (element === null || String(getSelection())) return;
    this.choose(element.row_);
    this.open(element.row_);
  }

  _looked(first, last, atEnd) {
    const session = this._session;
    if (session === null || this._scroller.hidden) return;
    const { list } = session.rows;
    const { rows } = this._list;
    // Count all rows that are held, even those that are folded away or do not match the search.
    const above = first <= 0 ? 0 : list.indexOf(rows[first]);
    const at = last < 0 ? list.length - 1 : last >= rows.length - 1 ? list.length - 1 : list.indexOf(rows[last]);
    session.look(Math.max(0, above), list.length - 1 - at, atEnd);
  }
}
