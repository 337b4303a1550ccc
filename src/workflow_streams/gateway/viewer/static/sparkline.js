/** Draws the rate of the last minute as a small picture. */

import { make, setText } from "./dom.js";
import * as format from "./format.js";
import { SECONDS } from "./rates.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [120, 24];

export class Sparkline {
  constructor(element) {
    this._svg = document.createElementNS(SVG, "svg");
    this._area = document.createElementNS(SVG, "path");
    this._line = document.createElementNS(SVG, "path");
    this._svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this._svg.setAttribute("preserveAspectRatio", "none");
    this._svg.setAttribute("role", "img");
    this._area.setAttribute("class", "spark-area");
    this._line.setAttribute("class", "spark-line");
    this._svg.append(this._area, this._line);
    this._now = make("span", { class: "figure" });
    element.append(this._svg, this._now);
  }

  draw(rates, now) {
    // Leave out the present second: it is incomplete, and would always look like a drop.
    const series = rates.series(now).slice(0, -1);
    const most = Math.max(...series);
    const x = (i) => ((i / (SECONDS - 2)) * WIDTH).toFixed(1);
    const y = (n) => (HEIGHT - 1.5 - (n / Math.max(most, 1)) * (HEIGHT - 3)).toFixed(1);
    const line = series.map((n, i) => `${i ? "L" : "M"}${x(i)} ${y(n)}`).join("");
    this._line.setAttribute("d", line);
    this._area.setAttribute("d", `${line}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z`);
    const current = format.rate(rates.now(now));
    setText(this._now, current);
    const label = `Rate over the last minute: now ${current}, at most ${format.rate(most)}`;
    if (this._svg.getAttribute("aria-label") !== label) this._svg.setAttribute("aria-label", label);
  }
}
