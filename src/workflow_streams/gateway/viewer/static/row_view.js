/** Draws a row as an element: an item on one line, or a marker across the list. */

import { icon, make, setAll } from "./dom.js";
import * as format from "./format.js";
import { appendColoured, oneLine, visible } from "./values.js";

const PREVIEW = 600;
const SEARCHED = 2000;
const ICONS = { gap: "gap", base: "gap", rewind: "rewind", run: "run", end: "end" };
let serial = 0;

/** Draws rows; `hueOf` gives a topic's colour, `isActive` says which row is chosen. */
export class RowView {
  constructor({ hueOf, isActive }) {
    this._hueOf = hueOf;
    this._isActive = isActive;
  }

  draw(row) {
    const element = row.kind === "item" ? this._item(row) : marker(row);
    row.elementId ??= `row-${(serial += 1)}`;
    setAll(element, { role: "option", id: row.elementId });
    element.row_ = row;
    this.redraw(element, row);
    return element;
  }

  redraw(element, row) {
    element.setAttribute("aria-selected", String(this._isActive(row)));
    element.classList.toggle("rewound", Boolean(row.rewound));
    if (row.kind !== "rewind") return;
    const fold = element.querySelector(".fold");
    fold.textContent = row.found ? (row.folded ? "show" : "hide") : "";
  }

  _item(row) {
    const value = make("span", { class: "value" });
    if (row.encoding) value.append(make("span", { class: "encoding" }, visible(row.encoding)), " ");
    appendColoured(value, oneLine(row.value, PREVIEW));
    const topic = make("span", { class: `topic hue-${this._hueOf(row.topic)}` });
    topic.append(visible(row.topic.slice(0, 200)));
    if (!row.topic) topic.classList.add("none");
    return make(
      "div",
      { class: "row item" },
      make("span", { class: "offset" }, String(row.offset)),
      make("time", { class: "time" }, format.clock(row.time)),
      topic,
      value,
    );
  }
}

function marker(row) {
  const text = make("span", { class: "marker-text" }, markerText(row));
  const element = make("div", { class: `row marker ${row.kind}` });
  element.append(make("span", { class: "offset" }, String(row.offset)), icon(ICONS[row.kind]), text);
  if (row.kind === "rewind") element.append(make("span", { class: "fold" }));
  if (row.kind === "end") element.classList.add(row.outcome === "completed" ? "good" : "bad");
  return element;
}

/** Return the text of a marker. */
export function markerText(row) {
  switch (row.kind) {
    case "gap":
      return `${span(row.start, row.end)} lost: ${GAP_REASONS[row.reason] ?? row.reason}`;
    case "base":
      return `Kept from offset ${row.offset} on; what came before is gone`;
    case "rewind":
      return rewindText(row);
    case "run":
      return `Rolled over: run ${row.id.slice(0, 8)} begins`;
    case "end":
      return `The stream has ended: ${format.outcome(row.outcome)}`;
    default:
      return "";
  }
}

const GAP_REASONS = { truncated: "the stream dropped them", expired: "their run has expired" };

function rewindText({ reason, attempt, count, offset }) {
  const what = count ? `${format.count(count, "item")} taken back` : "nothing to take back";
  if (reason === "attempt") return `Attempt ${attempt} took over: ${what}`;
  const why = { retry: "was retried", cron: "started its next cron run", reset: "was reset" }[reason];
  return `The workflow ${why ?? reason}: ${what}; offsets go on at ${offset}`;
}

function span(start, end) {
  const n = end - start;
  const which = n === 1 ? `Offset ${start}` : `Offsets ${start} to ${end - 1}`;
  return `${which} (${format.count(n, "item")})`;
}

/** Return the text that a search looks at; it is made when it is first needed. */
export function searchText(row) {
  row.searchText ??= oneLine(row.value, SEARCHED).toLowerCase();
  return row.searchText;
}
