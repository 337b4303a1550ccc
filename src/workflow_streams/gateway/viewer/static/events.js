/** Turns the gateway's events into what they mean: items, gaps, rewinds, runs, the end. */

import { offsetOf } from "./place.js";
import { parse } from "./values.js";

const ENVELOPE = new Set(["offset", "topic", "time", "data", "encoding"]);

/**
 * Decodes the events of one connection.
 *
 * `decode` returns notices: `{kind: "items", items, next}`, `{kind: "gap", start, end, reason}`,
 * `{kind: "rewind", ranges, reason, next, attempt, key}`, `{kind: "runs", runs}`,
 * `{kind: "place", next, token, upToDate}`, `{kind: "end", offset, outcome}`,
 * `{kind: "closing", reason}`. Items for which the stream names no topic are `bare`.
 */
export class Decoder {
  /** `position` is the offset that the connection begins at. */
  constructor({ position, contentType, base64 }) {
    this._position = position;
    this._json = /^application\/json\b/i.test(contentType);
    this._base64 = base64;
  }

  decode(event) {
    if (event.event === "data") return [this._data(event)];
    if (event.event === "control") return this._control(JSON.parse(event.data));
    return [];
  }

  _data({ data, id }) {
    const next = offsetOf(id);
    const items = this._json ? this._values(data, next) : [this._content(data)];
    this._position = next;
    return { kind: "items", items, next };
  }

  _values(data, next) {
    const values = parse(data);
    const each = data.length / Math.max(values.length, 1);
    return values.map((value, i) => {
      if (this._isEnvelope(value, next)) return fromEnvelope(value, each);
      // Without envelopes, the items have consecutive offsets that end right before the event's id.
      const offset = next - values.length + i;
      return { offset, topic: "", time: null, value, encoding: "", size: each, bare: true };
    });
  }

  _isEnvelope(value, next) {
    if (value === null || typeof value !== "object" || typeof value.topic !== "string") return false;
    if (!("data" in value) || !Object.keys(value).every((key) => ENVELOPE.has(key))) return false;
    return Number.isSafeInteger(value.offset) && value.offset >= 0 && value.offset < next;
  }

  _content(data) {
    const encoding = this._base64 ? "binary/plain" : "";
    const size = data.length;
    return { offset: this._position, topic: "", time: null, value: data, encoding, size, bare: true };
  }

  _control(fields) {
    const token = fields.streamNextOffset;
    if (token === undefined || fields.problem) return []; // the stream cannot be read yet
    const next = offsetOf(token);
    const notices = [];
    if (fields.runs) notices.push({ kind: "runs", runs: fields.runs.map(runOf) });
    if (fields.gap) notices.push(gapOf(fields.gap));
    if (fields.rewind) notices.push(rewindOf(fields.rewind));
    notices.push({ kind: "place", next, token, upToDate: fields.upToDate === true });
    if (fields.streamClosed) {
      notices.push({ kind: "end", offset: next, outcome: fields.outcome ?? "closed" });
    }
    if (fields.closing) notices.push({ kind: "closing", reason: fields.closing });
    this._position = next;
    return notices;
  }
}

function fromEnvelope({ offset, topic, time, data, encoding = "" }, size) {
  const at = Date.parse(time ?? "");
  return { offset, topic, time: Number.isNaN(at) ? null : at, value: data, encoding, size };
}

function gapOf({ start, end, reason }) {
  return { kind: "gap", start: offsetOf(start), end: offsetOf(end), reason };
}

function rewindOf({ ranges, reason, nextOffset, attempt = 0 }) {
  const spans = ranges.map((range) => [offsetOf(range.start), offsetOf(range.end)]);
  const next = offsetOf(nextOffset);
  const key = JSON.stringify([reason, next, attempt, spans]);
  return { kind: "rewind", ranges: spans, reason, next, attempt, key };
}

function runOf([id, firstOffset]) {
  return { id, first: offsetOf(firstOffset) };
}
