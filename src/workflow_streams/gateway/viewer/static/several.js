/** Unwraps events of several streams that share one connection into events of each stream. Pure. */

/** How many streams one connection may carry. */
export const MOST_STREAMS = 50;

// What each event begins with, so that its stream is known without parsing the rest.
const HEAD = /^\{"index":(\d+),"stream":"(?:[^"\\]|\\.)*",(?:"streamNextOffset":"([^"]*)")?/;

/**
 * Return `{index, token, event}`: which of the streams it is, where to resume in it, and the event
 * as a connection to that stream alone would bring it. Null if the event is about no single stream.
 */
export function unwrap({ event, data }) {
  const head = HEAD.exec(data);
  if (head === null) return null;
  const [whole, index, token = ""] = head;
  const rest = data.slice(whole.length);
  const place = token === "" ? "" : `"streamNextOffset":"${token}"`;
  const bare = event === "data" ? contentOf(rest) : `{${place}${rest}`;
  return { index: Number(index), token, event: { event, data: bare, id: token } };
}

function contentOf(rest) {
  const items = ',"items":';
  if (rest.startsWith(items)) return rest.slice(items.length, -1);
  const { text, base64 } = JSON.parse(`{${rest.slice(1)}`);
  return text ?? base64;
}
