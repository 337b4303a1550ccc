/** Shows values as text, on one line for a row or on many for details, with nothing invisible. */

// Control characters, and characters that reorder those around them or cannot be seen. The zero
// width joiner is not among them, since it is part of many emoji.
const UNSEEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200c\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;
const BIG_NUMBER = /\d{16}/;
const DEEPEST = 64;

/** Parse JSON; integers that a double cannot hold keep all their digits when shown. */
export function parse(text) {
  if (!BIG_NUMBER.test(text) || typeof JSON.rawJSON !== "function") return JSON.parse(text);
  return JSON.parse(text, (_, value, context) => {
    if (typeof value !== "number" || String(value) === context?.source) return value;
    return context?.source === undefined ? value : JSON.rawJSON(context.source);
  });
}

/** Return `text` with invisible characters made visible; `lines` keeps line ends and tabs. */
export function visible(text, lines = false) {
  return text.replace(UNSEEN, (found) => {
    const code = found.charCodeAt(0);
    if (lines && (code === 0x0a || code === 0x09)) return found;
    if (code === 0x0a) return "↵";
    if (code === 0x09) return "⇥";
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    return `‹${code.toString(16).toUpperCase().padStart(4, "0")}›`;
  });
}

/** Return a value as JSON on one line, cut after about `limit` characters. */
export function oneLine(value, limit) {
  return visible(new Writer(limit, "").write(value));
}

/** Return a value as indented JSON, cut after about `limit` characters. */
export function manyLines(value, limit) {
  const text = typeof value === "string" ? value.slice(0, limit) : new Writer(limit, "  ").write(value);
  return visible(text, true);
}

/** Return the whole value as JSON, for the clipboard. */
export function exact(value) {
  if (typeof value === "string") return value;
  try {
    return JSON.stringify(value, null, 2);
  } catch {
    return new Writer(Infinity, "").write(value); // nested too deep for the engine's stack
  }
}

/** Writes JSON up to a limit, so that a large value costs no more than what is shown of it. */
class Writer {
  constructor(limit, indent) {
    this._left = limit;
    this._indent = indent;
    this._parts = [];
  }

  write(value) {
    this._value(value, 0);
    if (this._left < 0) this._parts.push("…");
    return this._parts.join("");
  }

  _put(text) {
    if (this._left < 0) return;
    this._parts.push(text.length > this._left ? text.slice(0, this._left) : text);
    this._left -= text.length;
  }

  _value(value, depth) {
    if (this._left < 0) return;
    if (typeof value === "string") {
      const cut = value.length > this._left ? value.slice(0, this._left + 1) : value;
      this._put(JSON.stringify(cut));
    } else if (value === null || typeof value !== "object" || JSON.isRawJSON?.(value)) {
      this._put(JSON.stringify(value) ?? "null");
    } else if (depth >= DEEPEST) {
      this._put("…");
    } else if (Array.isArray(value)) {
      this._group("[", "]", value.length, depth, (i) => this._value(value[i], depth + 1));
    } else {
      const keys = Object.keys(value);
      this._group("{", "}", keys.length, depth, (i) => {
        this._put(`${JSON.stringify(keys[i].slice(0, this._left + 1))}: `);
        this._value(value[keys[i]], depth + 1);
      });
    }
  }

  _group(open, close, length, depth, member) {
    this._put(open);
    const inner = this._indent && length ? `\n${this._indent.repeat(depth + 1)}` : "";
    for (let i = 0; i < length && this._left >= 0; i++) {
      if (i) this._put(inner ? "," : ", ");
      this._put(inner);
      member(i);
    }
    if (inner) this._put(`\n${this._indent.repeat(depth)}`);
    this._put(close);
  }
}

const TOKEN = /("(?:[^"\\]|\\.)*"?)(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\b(?:true|false|null)\b/g;

/** Append JSON text to an element, with keys, strings, numbers and words in spans of their own. */
export function appendColoured(element, text) {
  let done = 0;
  for (const match of text.matchAll(TOKEN)) {
    if (match.index > done) element.append(text.slice(done, match.index));
    const kind = match[1] === undefined ? (/^[-\d]/.test(match[0]) ? "number" : "word")
      : match[2] === undefined ? "string" : "key";
    const span = document.createElement("span");
    span.className = `json-${kind}`;
    span.textContent = match[1] ?? match[0];
    element.append(span);
    if (match[2] !== undefined) element.append(match[2]);
    done = match.index + match[0].length;
  }
  if (done < text.length) element.append(text.slice(done));
}
