// Prints what the sibling's client reads, a line an item, to the end of the stream.
// Arguments: address, workflow, offset, and topics if not all are wanted.
import { Client, Connection } from "@temporalio/client"
import { WorkflowStreamClient } from "@temporalio/workflow-streams/client"

const [address, workflowId, offset, ...topics] = process.argv.slice(2)
const connection = await Connection.connect({ address })
const stream = WorkflowStreamClient.create(new Client({ connection }), workflowId)

// At any host, the client gives up if a workflow task fails before its poll has been accepted, as
// when a signal comes right at a rollover, and if a worker has passed its poll over. It is up to
// its users to subscribe again.
const passes = ({ cause }) =>
  cause?.details?.includes("workflow task failure") || cause?.type === "UnprocessedUpdate"

const printable = (data) =>
  data instanceof Uint8Array ? { base64: Buffer.from(data).toString("base64") } : (data ?? null)

let next = Number(offset)
for (let ended = false; !ended; ) {
  try {
    for await (const item of stream.subscribe(topics, next, { resultType: true })) {
      console.log(JSON.stringify([item.offset, item.topic, printable(item.data)]))
      next = item.offset + 1
    }
    ended = true
  } catch (error) {
    if (!passes(error)) throw error
  }
}
console.log(JSON.stringify(["ended"]))
await connection.close()
