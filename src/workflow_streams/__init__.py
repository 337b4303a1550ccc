"""Durable, ordered, multi-topic event streams hosted by Temporal workflows.

Workflow code, activities and outside services publish; any number of readers follow the
workflow's event history, drop off, and resume at an offset. A drop-in for
``temporalio.contrib.workflow_streams``: change the import.
"""

from temporalio import workflow as _workflow

# Without the plugin the sandbox runs this file for each workflow; what it imports need not be.
with _workflow.unsafe.imports_passed_through():
    from .client import WorkflowStreamClient
    from .errors import (
        BatchTooLargeError,
        BufferFullError,
        CodecError,
        ConnectionFailedError,
        DecodeError,
        EncodeError,
        FencedError,
        ForkError,
        ForkOffsetError,
        ForkTooLargeError,
        HostUnavailableError,
        InvalidCountError,
        InvalidOffsetError,
        ItemError,
        ItemTooLargeError,
        NamespaceNotFoundError,
        PermissionDeniedError,
        PublishError,
        PublishTimeoutError,
        RequestRejectedError,
        RunFullError,
        ServerUnavailableError,
        StreamClosedError,
        StreamCorruptedError,
        StreamExistsError,
        StreamGoneError,
        StreamNotFoundError,
        StreamNotHostedError,
        StreamNotOpenedError,
        StreamNotReadyError,
        StreamUnfinishedError,
        TopicTypeError,
        UsageError,
        WorkflowStreamError,
    )
    from .events import LATEST, End, Gap, Item, Last, Rewind, WorkflowStreamItem
    from .host.external.stream import ExternalTopicHandle, ExternalWorkflowStream
    from .host.stream import WorkflowStream
    from .host.topic import WorkflowTopicHandle
    from .hosted.calls import CreatedStream, close_stream, create_stream, delete_stream
    from .log.wire import (
        PollInput,
        PollResult,
        PublishEntry,
        PublisherState,
        PublishInput,
        WorkflowStreamState,
    )
    from .read.history.waiting_budget import limit_waiting_calls
    from .read.options import ReadOptions
    from .read.subscription import Subscription
    from .temporal.connection import connect
    from .temporal.plugin import WorkflowStreamsPlugin
    from .topic_handle import TopicHandle

__all__ = [
    "LATEST",
    "BatchTooLargeError",
    "BufferFullError",
    "CodecError",
    "ConnectionFailedError",
    "CreatedStream",
    "DecodeError",
    "EncodeError",
    "End",
    "ExternalTopicHandle",
    "ExternalWorkflowStream",
    "FencedError",
    "ForkError",
    "ForkOffsetError",
    "ForkTooLargeError",
    "Gap",
    "HostUnavailableError",
    "InvalidCountError",
    "InvalidOffsetError",
    "Item",
    "ItemError",
    "ItemTooLargeError",
    "Last",
    "NamespaceNotFoundError",
    "PermissionDeniedError",
    "PollInput",
    "PollResult",
    "PublishEntry",
    "PublishError",
    "PublishInput",
    "PublishTimeoutError",
    "PublisherState",
    "ReadOptions",
    "RequestRejectedError",
    "Rewind",
    "RunFullError",
    "ServerUnavailableError",
    "StreamClosedError",
    "StreamCorruptedError",
    "StreamExistsError",
    "StreamGoneError",
    "StreamNotFoundError",
    "StreamNotHostedError",
    "StreamNotOpenedError",
    "StreamNotReadyError",
    "StreamUnfinishedError",
    "Subscription",
    "TopicHandle",
    "TopicTypeError",
    "UsageError",
    "WorkflowStream",
    "WorkflowStreamClient",
    "WorkflowStreamError",
    "WorkflowStreamItem",
    "WorkflowStreamState",
    "WorkflowStreamsPlugin",
    "WorkflowTopicHandle",
    "close_stream",
    "connect",
    "create_stream",
    "delete_stream",
    "limit_waiting_calls",
]
