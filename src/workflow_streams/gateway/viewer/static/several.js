/** Events of several streams that share one connection, as events of one stream each. Pure. */

/** As many streams as one connection takes. */
export const MOST_STREAMS = 50;

// What each event of a stream begins with; the rest need not be parsed to know whose it is.
const HEAD = /^\{"index":(\d+),"stream":"(?:[^"\\]|\\.)*",(?:"streamNextOffset":"([^"]*)")?/;

/**
 * Return `{index, token, event}`: which of the streams, where it goes on, and the event as a
 * connection to that stream alone has it. Null for what is of none of them.
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
