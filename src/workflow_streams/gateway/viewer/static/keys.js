/** The keyboard: one table of what keys do, which is also what the help shows. */

import { byId, make } from "./dom.js";
import { recall, remember } from "./settings.js";

/** Groups of `[keys, what, action]`; `action` is a name, for which the page has a function. */
export const KEYS = [
  ["Anywhere", [
    [["?"], "This help", "help"],
    [["s"], "Find a stream", "findStream"],
    [["d"], "Colours: system, light, dark", "theme"],
    [["Escape"], "Close what is open; back to the streams", "escape"],
  ]],
  ["In a stream", [
    [["p"], "Pause or go on", "pause"],
    [["Home"], "Go to the start", "start"],
    [["End"], "Go to the latest", "latest"],
    [["g"], "Go to an offset", "offset"],
    [["/"], "Search the items here", "search"],
    [["t"], "Text or items", "view"],
    [["x"], "Show or hide what was taken back", "fold"],
    [["["], "Marker before", "markerBefore"],
    [["]"], "Marker after", "markerAfter"],
  ]],
  ["On an item", [
    [["ArrowDown", "j"], "Next", "down"],
    [["ArrowUp", "k"], "Previous", "up"],
    [["PageDown"], "A page down", "pageDown"],
    [["PageUp"], "A page up", "pageUp"],
    [["Enter", "o"], "Details; on a rewind: show or hide", "open"],
    [["c"], "Copy its value", "copy"],
  ]],
];

const SHOWN = { ArrowDown: "↓", ArrowUp: "↑", Escape: "Esc", PageDown: "PgDn", PageUp: "PgUp" };
const IN_LIST = new Set(["ArrowDown", "ArrowUp", "PageDown", "PageUp", "Home", "End", "Enter"]);

export class Keyboard {
  /** `actions` has a function for each action. It returns false if it does not use the key now. */
  constructor(actions, isList) {
    this._isList = isList;
    this._actions = new Map();
    for (const [, keys] of KEYS) {
      for (const [names, , action] of keys) {
        for (const name of names) this._actions.set(name, actions[action]);
      }
    }
    this._single = recall("keys") !== "off";
    document.addEventListener("keydown", (event) => this._pressed(event));
    this._drawHelp();
  }

  _pressed(event) {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (document.querySelector("dialog[open]")) return;
    const action = this._actions.get(key);
    if (action === undefined) return;
    if (key !== "Escape") {
      if (target.closest("input, textarea, select")) return;
      // If another element has the focus, keys that scroll or press belong to that.
      if (IN_LIST.has(key) && !this._isList(target)) return;
      if (key.length === 1 && !this._single) return;
    }
    if (action(event) !== false) event.preventDefault();
  }

  _drawHelp() {
    const groups = KEYS.map(([title, keys]) => {
      const rows = keys.map(([names, what]) => {
        const caps = names.flatMap((name, i) => {
          const cap = make("kbd", {}, SHOWN[name] ?? name);
          return i ? [" or ", cap] : [cap];
        });
        return make("div", {}, make("dt", {}, ...caps), make("dd", {}, what));
      });
      return make("section", {}, make("h3", {}, title), make("dl", {}, ...rows));
    });
    byId("help-keys").replaceChildren(...groups);
    const single = byId("help-single");
    single.checked = this._single;
    single.addEventListener("change", () => {
      this._single = single.checked;
      remember("keys", single.checked ? "on" : "off");
    });
  }
}
