// A workflow that hosts its stream with the sibling, and does what its signals say: those of
// `Host` in tests/read/hosts.py, and `work`, for an activity on the task queue that it names.
import {
  ApplicationFailure, condition, defineSignal, proxyActivities, setHandler,
} from "@temporalio/workflow"
import { WorkflowStream } from "@temporalio/workflow-streams/workflow"

export async function Host({ stream_state }) {
  const stream = new WorkflowStream(stream_state)
  const own = stream.topic("own")
  const orders = []
  setHandler(defineSignal("publish"), (values) => values.forEach((value) => own.publish(value)))
  setHandler(defineSignal("truncate"), (upTo) => stream.truncate(upTo))
  setHandler(defineSignal("order"), (what) => orders.push(what))
  setHandler(defineSignal("work"), async (taskQueue) => {
    const retry = { initialInterval: "50 ms" }
    await proxyActivities({ taskQueue, startToCloseTimeout: "1 minute", retry }).speak()
  })

  await condition(() => orders.length > 0)
  switch (orders[0]) {
    case "roll":
      return await stream.continueAsNew((state) => [{ stream_state: state }])
    case "fail":
      throw ApplicationFailure.nonRetryable("as told", "Told")
    default:
      return "done"
  }
}
