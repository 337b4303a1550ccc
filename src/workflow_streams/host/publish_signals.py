"""The handler of the publish signal. Runs in the workflow sandbox."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from ..log import wire

_NO_MESSAGE = RawValue(Payload())


def is_registered() -> bool:
    """Whether the current workflow handles publish signals already."""
    return workflow.get_signal_handler(wire.PUBLISH_SIGNAL) is not None


def register(stream: object, take: Callable[[Payload | None], None]) -> None:
    """Have the current workflow handle publish signals.

    The handler is a method of the stream's, since plugins of Temporal's for agent frameworks get to
    the stream by the handler's ``__self__``.

    The handler takes whatever arguments a signal brings. The SDK reads the handler's signature for
    its types, but then calls it with whatever came, and a TypeError in a handler would stop the
    workflow for good.

    Args:
        stream: The stream that the signals are for.
        take: Called with the signal's argument; with None if it has none, or more than one.
    """

    # The argument is raw, since with many signals in one activation, decoding every item would
    # run into the SDK's deadlock check of 2 s.
    def on_publish(_stream: object, message: RawValue = _NO_MESSAGE) -> None:
        take(message.payload if message is not _NO_MESSAGE else None)

    @functools.wraps(on_publish)
    def tolerant(stream: object, *arguments: Any) -> None:
        if len(arguments) == 2 and _are_raw(arguments[1]):
            # The signal came before this handler was there, and the workflow has a dynamic signal
            # handler: so the SDK has taken the arguments for that, as a name and a list.
            arguments = tuple(arguments[1])
        on_publish(stream, *arguments if len(arguments) == 1 else ())

    workflow.set_signal_handler(wire.PUBLISH_SIGNAL, types.MethodType(tolerant, stream))


def _are_raw(argument: Any) -> bool:
    return isinstance(argument, list) and bool(argument) and isinstance(argument[0], RawValue)
