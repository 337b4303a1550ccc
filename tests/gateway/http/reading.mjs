// Reads a JSON stream with the protocol's TypeScript client and prints each batch as a line.
// Arguments: URL, offset, and the live mode of the client ("true", "long-poll" or "sse").
import { stream } from "@durable-streams/client"

const [url, offset, live] = process.argv.slice(2)
const response = await stream({
  url,
  offset,
  live: live === "true" ? true : live,
  json: true,
  warnOnHttp: false,
})
response.subscribeJson((batch) => {
  console.log(JSON.stringify({ items: batch.items, offset: batch.offset }))
})
await response.closed
