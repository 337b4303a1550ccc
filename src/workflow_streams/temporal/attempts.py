"""Marks an activity's publishes with their attempt, those of the contrib's client too.

Agent frameworks publish from their model activities with the contrib's client, whose publisher
ids are random: nothing in them says that a retry is one. An interceptor gives them the ids that
this package's own client makes, so that readers get a :class:`Rewind` and the late writes of
older attempts are fenced.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import OrderedDict
from datetime import timedelta
from typing import Any

from temporalio import activity, client, worker
from temporalio.common import RawValue

from ..log import wire
from ..log.batches import batch_payload
from ..log.publisher_ids import (
    ActivityPublisher,
    Attempt,
    nonce_of,
    parse_producer,
    parse_publisher_id,
    short,
)

logger = logging.getLogger("workflow_streams")

_ANNOUNCED = "retry"
"""Nonce of the batch that announces a retry."""

# The activity waits for it, and the first batch of the retry does the same.
_ANNOUNCEMENT_TIMEOUT = timedelta(seconds=2)
_MAX_EXECUTIONS = 10_000


def publisher_of(info: activity.Info) -> ActivityPublisher:
    """Return the publisher that the activity attempt of ``info`` publishes as."""
    scheduled = int(info.current_attempt_scheduled_time.timestamp() * 1_000_000)
    attempt = Attempt(max(0, scheduled), info.attempt)
    run_id = info.workflow_run_id or info.activity_run_id or ""
    return ActivityPublisher(run_id, short(info.activity_id), attempt)


class AttemptInterceptor(client.Interceptor, worker.Interceptor):
    """Puts the attempt into publishes of the contrib's client, and announces retries.

    One for each client. Workers of the client take it over, to see activities begin.
    """

    def __init__(self, namespace: str) -> None:
        """Serve a client of ``namespace``."""
        self._namespace = namespace
        self._executions = _Executions()

    def intercept_client(self, next: client.OutboundInterceptor) -> client.OutboundInterceptor:
        """See the base class."""
        return _Publishes(next, self._namespace, self._executions)

    def intercept_activity(
        self, next: worker.ActivityInboundInterceptor
    ) -> worker.ActivityInboundInterceptor:
        """See the base class."""
        return _Retries(next, self._executions)


class _Executions:
    """Activities that have published through this client, and may be retried in this process.

    Bounded: the oldest is dropped first. Its retry is then announced by its first batch only.
    """

    def __init__(self) -> None:
        self._executions: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, execution: str) -> bool:
        return execution in self._executions

    def add(self, execution: str) -> None:
        self._executions[execution] = None
        if len(self._executions) > _MAX_EXECUTIONS:
            self._executions.popitem(last=False)

    def discard(self, execution: str) -> None:
        self._executions.pop(execution, None)


class _Publishes(client.OutboundInterceptor):
    def __init__(
        self, next: client.OutboundInterceptor, namespace: str, executions: _Executions
    ) -> None:
        super().__init__(next)
        self._namespace = namespace
        self._executions = executions

    async def signal_workflow(self, input: client.SignalWorkflowInput) -> None:
        if input.signal == wire.PUBLISH_SIGNAL and len(input.args) == 1:
            batch = self._with_attempt(input.args[0], input.id)
            await super().signal_workflow(dataclasses.replace(input, args=[batch]))
        else:
            await super().signal_workflow(input)

    def _with_attempt(self, batch: Any, workflow_id: str) -> Any:
        if not activity.in_activity() or not _is_anonymous(batch):
            return batch
        info = activity.info()
        if info.workflow_id is None or info.namespace != self._namespace:
            return batch
        publisher = publisher_of(info)
        if info.workflow_id == workflow_id:
            # To another workflow's stream, the first batch of a retry announces it.
            self._executions.add(publisher.execution)
        publisher_id = publisher.publisher_id(nonce_of(batch.publisher_id))
        # A copy, since the contrib sends the same batch again after a failure.
        return dataclasses.replace(batch, publisher_id=publisher_id)


class _Retries(worker.ActivityInboundInterceptor):
    """Tells readers at once that an activity which has published begins anew.

    Only where the earlier attempt was seen to publish: nothing else tells that the workflow
    hosts a stream, and that this activity has to do with it.
    """

    def __init__(self, next: worker.ActivityInboundInterceptor, executions: _Executions) -> None:
        super().__init__(next)
        self._executions = executions

    async def execute_activity(self, input: worker.ExecuteActivityInput) -> Any:
        info = activity.info()
        execution = publisher_of(info).execution
        # The server takes a local activity's signals only when its workflow task is over.
        if execution in self._executions and not info.is_local:
            await _announce(info)
        result = await super().execute_activity(input)
        self._executions.discard(execution)
        return result


async def _announce(info: activity.Info) -> None:
    try:
        own_client = activity.client()
    except RuntimeError:
        return  # `def` activities have none
    assert info.workflow_id is not None
    handle = own_client.get_workflow_handle(info.workflow_id, run_id=info.workflow_run_id)
    batch = batch_payload([], publisher_of(info).publisher_id(_ANNOUNCED), 1)
    try:
        await handle.signal(wire.PUBLISH_SIGNAL, RawValue(batch), rpc_timeout=_ANNOUNCEMENT_TIMEOUT)
    except Exception as err:
        # Not the activity's concern: the first batch that it publishes tells the same.
        logger.info("A retry in workflow %r was not announced: %s", info.workflow_id, err)


def _is_anonymous(batch: Any) -> bool:
    """Whether it is a batch as the contrib's client sends it, with a random id.

    Any dataclass of that shape counts, since Temporal may move the class to another module. Batches
    in other forms are made by hand, and may depend on their id.
    """
    if isinstance(batch, type) or not dataclasses.is_dataclass(batch):
        return False
    publisher_id = getattr(batch, "publisher_id", None)
    if not isinstance(publisher_id, str) or not publisher_id:
        return False
    if not isinstance(getattr(batch, "sequence", None), int) or not hasattr(batch, "items"):
        return False
    return parse_publisher_id(publisher_id) is None and parse_producer(publisher_id) is None
