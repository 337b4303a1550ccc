/** Shows the text of a stream in the page, and follows its end while that is in view. */

import { make, setText } from "./dom.js";
import { markerText } from "./row_view.js";
import { Fields, WHOLE, partsOf } from "./text.js";

const AT_END_PX = 4;

export class TextView {
  constructor({ scroller, body, field, onScroll }) {
    Object.assign(this, { _scroller: scroller, _body: body, _field: field });
    this._fields = new Fields();
    this._parts = [];
    this._path = null;
    field.addEventListener("change", () => {
      this._path = field.value;
      this._version = -1;
      this._onChange?.();
    });
    scroller.addEventListener("scroll", () => onScroll(this._place), { passive: true });
  }

  /** Begin with another stream. */
  clear() {
    this._fields = new Fields();
    this._parts = [];
    this._path = null;
    this._version = -1;
    this._field.replaceChildren();
    this._body.replaceChildren();
  }

  /** How many pixels of text there are above and below what is in view. */
  get _place() {
    const { scrollTop, clientHeight, scrollHeight } = this._scroller;
    return { above: scrollTop, below: scrollHeight - scrollTop - clientHeight, atEnd: this.atEnd };
  }

  set onChange(listener) {
    this._onChange = listener;
  }

  get atEnd() {
    const { scrollTop, clientHeight, scrollHeight } = this._scroller;
    return scrollTop + clientHeight >= scrollHeight - AT_END_PX;
  }

  /** Show the text of the rows; `following` keeps its end in view. */
  show(rows, following) {
    if (this._fields.learn(rows.list)) this._offerFields();
    if (rows.version !== this._version) {
      this._version = rows.version;
      const before = this._scroller.scrollHeight;
      const first = this._parts[0];
      this._update(partsOf(rows.list, this._path ?? this._fields.best));
      const earlier = this._parts[0] !== first && first !== undefined && !grownFrom(first, this._parts[0]);
      // Earlier text was added above, so scroll down by its height to keep what is in view.
      if (earlier && !following) this._scroller.scrollTop += this._scroller.scrollHeight - before;
    }
    if (following) this._scroller.scrollTop = this._scroller.scrollHeight;
  }

  _offerFields() {
    const chosen = this._path ?? this._fields.best;
    const options = this._fields.paths.map((path) => {
      return make("option", { value: path }, path === WHOLE ? "whole value" : path);
    });
    this._field.replaceChildren(...options);
    this._field.value = chosen;
  }

  /** Change only what differs, which is usually the end of the last part. */
  _update(parts) {
    const before = this._parts;
    let same = 0;
    while (same < parts.length && same < before.length && alike(parts[same], before[same])) same += 1;
    const last = before.length - 1;
    const grown = same === last && parts[same]?.text?.startsWith(before[same].text ?? "\0");
    if (grown) {
      this._body.lastChild.append(parts[same].text.slice(before[same].text.length));
      same += 1;
    }
    while (this._body.childNodes.length > same) this._body.lastChild.remove();
    for (const part of parts.slice(same)) this._body.append(elementOf(part));
    this._parts = parts;
  }
}

function grownFrom(before, part) {
  return before.marker === part?.marker && (part?.text ?? "").startsWith(before.text ?? "");
}

function alike(a, b) {
  return a.marker === b.marker && a.text === b.text;
}

function elementOf({ text, marker }) {
  if (marker === undefined) return make("span", { class: "text-part" }, text);
  const element = make("span", { class: `text-marker ${marker.kind}` });
  setText(element, markerText(marker));
  return element;
}
