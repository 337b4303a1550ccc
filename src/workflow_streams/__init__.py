"""Durable, ordered, multi-topic event streams hosted by Temporal workflows.

Workflow code, activities and outside services publish; any number of readers follow the
workflow's event history, drop off, and resume at an offset. A drop-in for
``temporalio.contrib.workflow_streams``: change the import.
"""

import typing as _typing

if _typing.TYPE_CHECKING:
    from .client import WorkflowStreamClient
    from .connection import connect
    from .events import LATEST, End, Gap, Item, Last, Rewind, WorkflowStreamItem
    from .plugin import WorkflowStreamsPlugin
    from .topic_handle import TopicHandle
    from .wire import (
        PollInput,
        PollResult,
        PublishEntry,
        PublisherState,
        PublishInput,
        WorkflowStreamState,
    )
    from .workflow import WorkflowStream, WorkflowTopicHandle

__all__ = [
    "LATEST",
    "End",
    "Gap",
    "Item",
    "Last",
    "PollInput",
    "PollResult",
    "PublishEntry",
    "PublishInput",
    "PublisherState",
    "Rewind",
    "TopicHandle",
    "WorkflowStream",
    "WorkflowStreamClient",
    "WorkflowStreamItem",
    "WorkflowStreamState",
    "WorkflowStreamsPlugin",
    "WorkflowTopicHandle",
    "connect",
]

_HOMES = {
    "client": ("WorkflowStreamClient",),
    "connection": ("connect",),
    "events": ("LATEST", "End", "Gap", "Item", "Last", "Rewind", "WorkflowStreamItem"),
    "plugin": ("WorkflowStreamsPlugin",),
    "topic_handle": ("TopicHandle",),
    "wire": (
        "PollInput",
        "PollResult",
        "PublishEntry",
        "PublisherState",
        "PublishInput",
        "WorkflowStreamState",
    ),
    "workflow": ("WorkflowStream", "WorkflowTopicHandle"),
}

if not _typing.TYPE_CHECKING:  # a __getattr__ in sight of a type checker would hide misspelt names
    # Loaded when first used, so that the command line starts without the Temporal SDK.
    def __getattr__(name: str) -> _typing.Any:
        home = next((home for home, names in _HOMES.items() if name in names), None)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from temporalio import workflow

        # Without the plugin the sandbox runs this file for each workflow; what it imports need
        # not be. (importlib would pass the sandbox's own import by.)
        with workflow.unsafe.imports_passed_through():
            module = __import__(f"{__name__}.{home}", fromlist=[name])
        value = globals()[name] = getattr(module, name)
        return value
