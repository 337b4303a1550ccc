// Publishes what its input says, by the sibling's client. Arguments: address, workflow.
// A line of input is {topic, value} or {topic, base64}, with `force` to have it flushed at once;
// or {flush: true}, which is answered once everything before it has been taken.
import { createInterface } from "node:readline"
import { Client, Connection } from "@temporalio/client"
import { WorkflowStreamClient } from "@temporalio/workflow-streams/client"

const [address, workflowId] = process.argv.slice(2)
const connection = await Connection.connect({ address })
// Nothing but an order or the end is to flush, but for the third item that waits.
const options = { batchInterval: "1 hour", maxBatchSize: 3 }
const stream = WorkflowStreamClient.create(new Client({ connection }), workflowId, options)
for await (const line of createInterface({ input: process.stdin })) {
  const { topic, value, base64, force, flush } = JSON.parse(line)
  if (flush) {
    await stream.flush()
    console.log(JSON.stringify({ flushed: true }))
  } else {
    const item = base64 === undefined ? value : new Uint8Array(Buffer.from(base64, "base64"))
    stream.topic(topic).publish(item, { forceFlush: force })
  }
}
await stream[Symbol.asyncDispose]()
await connection.close()
// The interval that the client waited for last would keep the process alive.
process.exit()
