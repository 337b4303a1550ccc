/** Shows the topics that have been seen, as switches for what is read. */

import { make, setAll } from "./dom.js";
import { visible } from "./values.js";

const MOST = 200;

export class TopicsView {
  constructor(element, { changed }) {
    this._element = element;
    this._changed = changed;
    this._buttons = new Map();
    this._chosen = new Set();
    element.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button !== null) this._toggle(button.topic_);
    });
  }

  clear() {
    this._buttons.clear();
    this._element.replaceChildren();
  }

  /** Draw the topics; `hueOf` gives their colours. */
  draw(topics, chosen, hueOf) {
    this._chosen = chosen;
    for (const topic of topics) {
      if (!this._buttons.has(topic) && this._buttons.size < MOST) this._add(topic, hueOf(topic));
    }
    for (const [topic, button] of this._buttons) {
      setAll(button, { "aria-pressed": String(chosen.has(topic)) });
    }
    this._element.hidden = this._buttons.size === 0;
    this._element.classList.toggle("filtered", chosen.size > 0);
  }

  _add(topic, hue) {
    const name = make("bdi", {}, visible(topic.slice(0, 60)));
    const title = `Only ${visible(topic.slice(0, 500))}`;
    const button = make("button", { type: "button", class: `topic-switch hue-${hue}`, title }, name);
    button.topic_ = topic;
    this._buttons.set(topic, button);
    this._element.append(button);
  }

  _toggle(topic) {
    const chosen = new Set(this._chosen);
    if (!chosen.delete(topic)) chosen.add(topic);
    this._changed(chosen);
  }
}
