/** Shows one item in full, beside the list. */

import { byId, make, setText } from "./dom.js";
import * as format from "./format.js";
import { appendColoured, exact, manyLines, visible } from "./values.js";

const MOST_SHOWN = 100_000;
const MOST_COLOURED = 20_000;

export class Details {
  constructor({ closed, copy }) {
    this._pane = byId("details");
    this._value = byId("details-value");
    this._closed = closed;
    this.row = null;
    byId("details-close").addEventListener("click", () => this.close());
    byId("details-copy").addEventListener("click", () => copy(exact(this.row.value), "The value"));
  }

  show(row) {
    this.row = row;
    this._pane.hidden = false;
    setText(byId("details-title"), `Item ${row.offset}`);
    const fields = [
      ["Topic", visible(row.topic)],
      ["Time", format.moment(row.time)],
      ["Encoding", visible(row.encoding)],
      ["Size", format.size(row.size)],
      ["Taken back", row.rewound ? `by ${rewinder(row.rewound)}` : ""],
    ];
    const drawn = fields
      .filter(([, text]) => text)
      .map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, text)));
    byId("details-fields").replaceChildren(...drawn);
    this._drawValue(row);
  }

  close() {
    if (this.row === null) return false;
    this.row = null;
    this._pane.hidden = true;
    this._closed();
    return true;
  }

  _drawValue(row) {
    const text = manyLines(row.value, MOST_SHOWN);
    this._value.replaceChildren();
    if (typeof row.value === "string" || text.length > MOST_COLOURED) this._value.append(text);
    else appendColoured(this._value, text);
    this._value.scrollTop = 0;
    const cut = byId("details-cut");
    cut.hidden = row.size <= MOST_SHOWN;
    setText(cut, `The first ${format.size(MOST_SHOWN)} of ${format.size(row.size)}; Copy takes all.`);
  }
}

function rewinder({ reason, attempt }) {
  return reason === "attempt" ? `attempt ${attempt}` : `the workflow's ${reason}`;
}
