// What the sibling's worker does beside its workflow.
import { activityInfo } from "@temporalio/activity"
import { WorkflowStreamClient } from "@temporalio/workflow-streams/client"

/** Fails in the first attempt, with half of what there is to say. */
export async function speak() {
  const { attempt } = activityInfo()
  const stream = WorkflowStreamClient.fromWithinActivity()
  const topic = stream.topic("speech")
  topic.publish(`attempt ${attempt}, begun`)
  await stream.flush()
  if (attempt === 1) {
    await stream[Symbol.asyncDispose]()
    throw new Error("as told")
  }
  topic.publish(`attempt ${attempt}, done`)
  await stream[Symbol.asyncDispose]()
}
