/** Asks for the bearer token if the gateway needs one, and keeps it until the tab is closed. */

import { byId, setText } from "./dom.js";

const KEY = "workflow-streams.token";

export class Token {
  /** `entered()` is called when a token has been entered. */
  constructor(entered) {
    this._dialog = byId("token-dialog");
    this._input = byId("token-input");
    this._message = byId("token-message");
    this._value = stored();
    byId("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this._take(this._input.value.trim());
      this._dialog.close();
      entered();
    });
    byId("token-cancel").addEventListener("click", () => this._dialog.close());
  }

  get() {
    return this._value;
  }

  /** Ask for a token; `why` is the reason that the gateway gave. */
  ask(why) {
    const had = this._value !== "";
    setText(this._message, had ? why : "This gateway wants to know who you are.");
    if (this._dialog.open) return;
    this._input.value = "";
    this._dialog.showModal();
  }

  _take(text) {
    this._value = text.replace(/^bearer\s+/i, "");
    try {
      sessionStorage.setItem(KEY, this._value);
    } catch {
      // Then the token is kept only until the page is reloaded.
    }
  }
}

function stored() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}
