"""How far a contrib-hosted stream had come when its run closed."""

from __future__ import annotations

import logging
from collections import deque
from contextlib import aclosing

from temporalio.client import Client

from ....errors import StreamNotFoundError
from ....log import wire
from ....log.compact import ENCODING
from ....log.fold import Fold
from ....log.intake import Intake
from ....temporal.codec import converter_of, decoded
from ...history.pages import history_pages
from .calls import head_of

logger = logging.getLogger("workflow_streams")


async def last_head(client: Client, workflow_id: str, run_id: str) -> int:
    """Return the head of a run that has closed, or what is known of it.

    Some hosts answer no query any more once their workflow has been terminated. Then the history
    still tells how many items were sent to it, though not what the workflow published itself.

    Raises:
        StreamNotFoundError: The workflow hosted no stream.
        HostUnavailableError: There is no worker to ask.
    """
    try:
        return await head_of(client.get_workflow_handle(workflow_id, run_id=run_id))
    except StreamNotFoundError as err:
        sent = await _items_sent(client, workflow_id, run_id)
        if sent is None:
            raise
        logger.warning("Workflow %r does not tell where its stream ended: %s", workflow_id, err)
        return sent


async def _items_sent(client: Client, workflow_id: str, run_id: str) -> int | None:
    """Count the items that were sent to a run; None if nothing shows that it hosted a stream."""
    fold, is_stream = Fold(fences=False), False
    intake = Intake(fold)
    converter = converter_of(client, workflow_id)
    pages = history_pages(client, workflow_id, run_id)
    async with aclosing(pages):
        async for events in pages:
            for event in events:
                signal = event.workflow_execution_signaled_event_attributes
                update = event.workflow_execution_update_accepted_event_attributes
                if signal.signal_name == wire.PUBLISH_SIGNAL:
                    is_stream = True
                    payloads = signal.input.payloads
                    if len(payloads) == 1:
                        payload = await decoded(converter, payloads[0], workflow_id)
                        # A contrib's host cannot read the compact form, and ignores it.
                        if payload.metadata.get("encoding") != ENCODING:
                            deque(intake.take(payload), maxlen=0)
                elif update.accepted_request.input.name == wire.POLL:
                    is_stream = True
    return fold.head if is_stream else None
