/** A list of rows of equal height, of which only those in view are elements of the page. */

const OVERSCAN = 8;
// When scrolled to the end, a browser may be off by a fraction of a pixel.
const AT_END_PX = 2;

/**
 * Draws rows into `canvas`, which lies in `scroller`.
 *
 * `draw(row)` makes a row's element, and `redraw(element, row)` updates it.
 * `looked(first, last, atEnd)` is told which rows are in view, after each drawing and scrolling.
 */
export class VirtualList {
  constructor({ scroller, canvas, draw, redraw, looked }) {
    Object.assign(this, { scroller, canvas, _draw: draw, _redraw: redraw, _looked: looked });
    this.rows = [];
    this._elements = new Map();
    this._anchor = null;
    this._height = 0;
    this._following = true;
    this._ownTop = null;
    scroller.addEventListener("scroll", () => this._scrolled(), { passive: true });
    new ResizeObserver(() => this._resized()).observe(scroller);
  }

  /** Show these rows. Stay at the end if `following`, otherwise keep the topmost row in place. */
  show(rows, following) {
    const before = this.rows;
    this.rows = rows;
    this._following = following;
    this._measure();
    this.canvas.style.height = `${rows.length * this._height}px`;
    if (following) this._scrollTo(this.scroller.scrollHeight);
    else if (this._anchor !== null) this._keepPlace(before);
    this._paint();
  }

  /** Scroll so that a row is in view: in the middle, or by as little as necessary. */
  reveal(row, where = "nearest") {
    const index = this.rows.indexOf(row);
    if (index < 0) return;
    const { scroller, _height: height } = this;
    const [top, room] = [index * height, scroller.clientHeight];
    if (where === "middle") this._scrollTo(top - (room - height) / 2);
    else if (top < scroller.scrollTop) this._scrollTo(top);
    else if (top + height > scroller.scrollTop + room) this._scrollTo(top + height - room);
    this._following = false;
    this._paint();
  }

  /** Return the element of a row, or null if it is not in view. */
  elementOf(row) {
    return this._elements.get(row) ?? null;
  }

  /** Return the first and last index in view. */
  get span() {
    const { scroller, _height: height, rows } = this;
    const first = Math.floor(scroller.scrollTop / height) || 0;
    const last = Math.ceil((scroller.scrollTop + scroller.clientHeight) / height) || 0;
    return [Math.max(0, Math.min(first, rows.length - 1)), Math.min(last, rows.length) - 1];
  }

  get atEnd() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    return scrollTop + clientHeight >= scrollHeight - AT_END_PX;
  }

  _scrollTo(top) {
    this.scroller.scrollTop = top;
    this._ownTop = this.scroller.scrollTop;
  }

  /** Follow if the user scrolls to the end. The page's own scrolling does not change that. */
  _scrolled() {
    if (this.scroller.scrollTop !== this._ownTop) this._following = this.atEnd;
    this._ownTop = null;
    this._paint();
  }

  _resized() {
    this._height = 0;
    for (const element of this._elements.values()) element.remove();
    this._elements.clear();
    this.show(this.rows, this._following);
  }

  _measure() {
    if (this._height) return;
    this._height = parseFloat(getComputedStyle(this.scroller).getPropertyValue("--row-height"));
  }

  _keepPlace(before) {
    const { row, delta } = this._anchor;
    let index = this.rows.indexOf(row);
    // If the topmost row was folded away or dropped, use the next one that is left.
    for (let i = before.indexOf(row) + 1; index < 0 && i > 0 && i < before.length; i++) {
      index = this.rows.indexOf(before[i]);
    }
    if (index >= 0) this._scrollTo(index * this._height - delta);
  }

  _paint() {
    const { rows, _elements: elements } = this;
    const [first, last] = this.span;
    const [from, to] = [Math.max(0, first - OVERSCAN), Math.min(rows.length, last + 1 + OVERSCAN)];
    const wanted = new Set(rows.slice(from, to));
    for (const [row, element] of elements) {
      if (wanted.has(row)) continue;
      element.remove();
      elements.delete(row);
    }
    for (let i = from; i < to; i++) this._place(rows[i], i);
    const top = rows[first];
    this._anchor = top ? { row: top, delta: first * this._height - this.scroller.scrollTop } : null;
    this._looked(first, last, this._following);
  }

  _place(row, index) {
    let element = this._elements.get(row);
    if (element === undefined) {
      element = this._draw(row);
      this._elements.set(row, element);
      this.canvas.append(element);
    } else {
      this._redraw(element, row);
    }
    if (element.rowIndex_ === index) return;
    element.rowIndex_ = index;
    element.style.transform = `translateY(${index * this._height}px)`;
    element.setAttribute("aria-posinset", index + 1);
  }
}
