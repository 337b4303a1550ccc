/** Parses server-sent events from the text of a response. Knows nothing of connections. */

const LINE_END = /\r\n|\r|\n/g;

/**
 * Takes an event stream in pieces, cut anywhere, and returns the events that are complete.
 *
 * An event is `{event, data, id}`, where `id` is the last one that the stream has given so far.
 * Comments, which keep a connection alive, are not events.
 */
export class SseParser {
  constructor() {
    this.lastId = "";
    this._rest = "";
    this._first = true;
    this._skipLineFeed = false;
    this._clear();
  }

  feed(piece) {
    if (piece === "") return [];
    let text = piece;
    if (this._first) {
      this._first = false;
      if (text.charCodeAt(0) === 0xfeff) text = text.slice(1);
    }
    // A line may end with CR and LF, and the stream may be cut between the two.
    if (this._skipLineFeed && text.startsWith("\n")) text = text.slice(1);
    this._skipLineFeed = text.endsWith("\r");
    const from = this._rest.length;
    text = this._rest + text;
    const events = [];
    let start = 0;
    LINE_END.lastIndex = from;
    for (let end = LINE_END.exec(text); end !== null; end = LINE_END.exec(text)) {
      const event = this._line(text.slice(start, end.index));
      if (event !== null) events.push(event);
      start = LINE_END.lastIndex;
    }
    this._rest = text.slice(start);
    return events;
  }

  _line(line) {
    if (line === "") return this._dispatch();
    const colon = line.indexOf(":");
    if (colon === 0) return null;
    const name = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (name === "data") this._data.push(value);
    else if (name === "event") this._event = value;
    else if (name === "id" && !value.includes("\0")) this.lastId = value;
    return null;
  }

  _dispatch() {
    const [data, event] = [this._data, this._event];
    this._clear();
    if (data.length === 0) return null;
    return { event: event || "message", data: data.join("\n"), id: this.lastId };
  }

  _clear() {
    this._data = [];
    this._event = "";
  }
}
