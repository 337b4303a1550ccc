"""Applies the user's data converter to what a stream has in its workflow's history."""

from __future__ import annotations

from typing import TypeVar

from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowExecution
from temporalio.common import RawValue
from temporalio.converter import DataConverter, WorkflowSerializationContext

from ..errors import CodecError
from ..log.records import parse_record
from ..log.wire import Record

T = TypeVar("T")


def converter_of(client: Client, workflow_id: str) -> DataConverter:
    """Return the client's data converter in the context of a workflow.

    Converters and codecs may depend on it: a key for each workflow, for instance.
    """
    context = WorkflowSerializationContext(client.namespace, workflow_id)
    return client.data_converter.with_context(context)


async def decoded(converter: DataConverter, payload: Payload, workflow_id: str) -> Payload:
    """Return ``payload`` as it was before the codec.

    Raises:
        CodecError: The codec refuses it.
    """
    try:
        [raw] = await converter.decode([payload], [RawValue])
    except Exception as err:
        raise CodecError(
            workflow_id, f"the payload codec of this client refuses the stream: {err!r}"
        ) from err
    plain: Payload = raw.payload
    return plain


async def record_in(converter: DataConverter, payload: Payload, workflow_id: str) -> Record:
    """Return the record in a memo field of ours.

    Raises:
        CodecError: The codec refuses it, or it is still encoded after the codec.
    """
    plain = await decoded(converter, payload, workflow_id)
    record = parse_record(plain)
    if record is None:
        encoding = plain.metadata.get("encoding", b"").decode(errors="replace")
        raise CodecError(
            workflow_id,
            f"a record of the stream is not readable (its encoding is {encoding!r}): the client "
            "lacks the payload codec or the key that the worker has, or is of an older version",
        )
    return record


async def memo_value(execution: WorkflowExecution, key: str, kind: type[T]) -> T | None:
    """Return a memo field of ours on a workflow as the server described it; None if it has none.

    Raises:
        CodecError: The codec refuses it, or it is still encoded after the codec.
    """
    try:
        value: T | None = await execution.memo_value(key, None, type_hint=kind)
    except Exception as err:
        raise CodecError(
            execution.id, f"the memo of the workflow is not readable by this client: {err!r}"
        ) from err
    return value
