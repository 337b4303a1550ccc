/** The page's address says what it shows: in the fragment, which servers do not see. */

const STREAM = "#/stream/";

/**
 * Return `{id, from, topics, view}`: `id` is null for no stream, `from` is "latest", "start" or an
 * offset, `view` is "items" or "text".
 */
export function parse(hash) {
  const route = { id: null, from: "latest", topics: [], view: "items" };
  if (!hash.startsWith(STREAM)) return route;
  const [path, query = ""] = hash.slice(STREAM.length).split("?", 2);
  try {
    route.id = decodeURIComponent(path) || null;
  } catch {
    return route; // not an address that this page has made
  }
  const fields = new URLSearchParams(query);
  const from = fields.get("from");
  if (from === "start") route.from = from;
  else if (/^\d{1,15}$/.test(from ?? "")) route.from = Number(from);
  route.topics = fields.getAll("topic");
  if (fields.get("view") === "text") route.view = "text";
  return route;
}

/** Return the fragment that `parse` reads. */
export function format({ id, from = "latest", topics = [], view = "items" }) {
  if (id === null) return "#/";
  const query = new URLSearchParams();
  if (from !== "latest") query.set("from", String(from));
  for (const topic of topics) query.append("topic", topic);
  if (view !== "items") query.set("view", view);
  const text = query.toString();
  return STREAM + encodeURIComponent(id.toWellFormed()) + (text ? `?${text}` : "");
}
