// Runs the sibling's workflow and activity until its input ends. Arguments: address, task queue.
import { fileURLToPath } from "node:url"
import { DefaultLogger, NativeConnection, Runtime, Worker } from "@temporalio/worker"
import * as activities from "./activities.mjs"

const [address, taskQueue] = process.argv.slice(2)
Runtime.install({ logger: new DefaultLogger("ERROR") })
const connection = await NativeConnection.connect({ address })
const workflowsPath = fileURLToPath(new URL("workflow.mjs", import.meta.url))
const worker = await Worker.create({ connection, taskQueue, workflowsPath, activities })
process.stdin.on("end", () => worker.shutdown()).resume()
const running = worker.run()
console.log("ready")
await running
await connection.close()
