/** Dark or light colours: as the system says, or as the user has chosen. */

import { recall, remember } from "./settings.js";

const NAMES = ["system", "light", "dark"];

export class Theme {
  constructor(button) {
    this._button = button;
    this._name = NAMES.includes(recall("theme")) ? recall("theme") : "system";
    button.addEventListener("click", () => this.next());
    this._apply();
  }

  next() {
    this._name = NAMES[(NAMES.indexOf(this._name) + 1) % NAMES.length];
    remember("theme", this._name);
    this._apply();
    return this._name;
  }

  _apply() {
    document.documentElement.dataset.theme = this._name;
    this._button.setAttribute("aria-label", `Colours: ${this._name}`);
    this._button.title = `Colours: ${this._name} (d)`;
  }
}
