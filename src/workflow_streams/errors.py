"""Every error that this package raises on purpose.

    WorkflowStreamError
    ├── UsageError (RuntimeError)          the API was used in a way it does not allow
    │   ├── InvalidCountError (ValueError) a count that is no whole number, or less than 1
    │   └── TopicTypeError                 one topic, two types
    ├── ItemError
    │   ├── EncodeError (ValueError)       a value that no payload converter takes
    │   ├── ItemTooLargeError (ValueError) a value over the server's payload limit
    │   └── DecodeError (ValueError)       a stored item that does not decode
    ├── BatchTooLargeError (ValueError)    more than can be written at once
    ├── InvalidOffsetError (ValueError)    an offset that cannot exist
    │   └── ForkOffsetError                a fork's offset lies past what its source holds
    ├── StreamNotFoundError                no such workflow, or it hosts no stream
    │   └── StreamGoneError                a hosted stream that was deleted or has expired
    ├── StreamExistsError                  there is another stream of the name
    ├── StreamNotHostedError               its workflow is the user's, not one of this package
    ├── StreamNotReadyError                its history is not there yet
    │   ├── StreamNotOpenedError           no worker has run its workflow yet
    │   └── StreamUnfinishedError          what it was made with has not all been written yet
    ├── ForkError                          a stream that cannot be forked, or not there
    │   └── ForkTooLargeError              it would begin with too much
    ├── StreamClosedError                  the workflow has ended and takes no more items
    ├── StreamCorruptedError               a run does not go on where the run before ended
    │   └── CodecError                     the client's payload codec cannot read the stream
    ├── HostUnavailableError               a contrib's stream, and no worker to read it from
    ├── RunFullError                       the workflow has to roll over before it takes more
    ├── BufferFullError                    more was published than could be sent
    ├── FencedError                        a newer attempt of the same activity publishes
    ├── PublishError                       items were not delivered; says how many and why
    │   └── PublishTimeoutError (TimeoutError)
    └── ConnectionFailedError
        ├── NamespaceNotFoundError
        ├── PermissionDeniedError
        ├── ServerUnavailableError
        └── RequestRejectedError           any other answer of the server

Facts are fields; the RPC error, where there is one, is the ``__cause__``. All of them can be
imported from ``workflow_streams`` itself.
"""

from __future__ import annotations


class WorkflowStreamError(Exception):
    """Base of all errors raised by workflow_streams."""


class UsageError(WorkflowStreamError, RuntimeError):
    """The API was called in a way or from a place that it does not allow."""


class InvalidCountError(UsageError, ValueError):
    """A count is no whole number, or less than 1."""

    def __init__(self, parameter: str, number: object) -> None:
        """Record the parameter and what it was given."""
        super().__init__(f"{parameter} must be a whole number, at least 1, not {number!r}")
        self.parameter = parameter
        self.number = number


class TopicTypeError(UsageError):
    """A topic name was bound to a second, different type."""

    def __init__(self, topic: str, bound: object, asked: object) -> None:
        """Record the topic, the type it has and the type it was asked to take."""
        super().__init__(
            f"Topic {topic!r} is already bound to type {bound!r}; refusing {asked!r}. "
            "Use one type per topic, or omit type for a topic of mixed values."
        )
        self.topic = topic
        self.bound = bound
        self.asked = asked


class ItemError(WorkflowStreamError):
    """Something is wrong with one item; the stream itself is fine."""


class EncodeError(ItemError, ValueError):
    """A published value could not be turned into a payload."""

    def __init__(self, topic: str, value: object, reason: BaseException) -> None:
        """Record the topic and the type of the value."""
        super().__init__(
            f"A value of type {type(value).__qualname__} published on topic {topic!r} "
            f"could not be encoded: {reason}"
        )
        self.topic = topic
        self.value_type = type(value)


class ItemTooLargeError(ItemError, ValueError):
    """A published value is larger than one item may be."""

    def __init__(self, topic: str, size: int, limit: int) -> None:
        """Record the topic, the encoded size and the limit, both in bytes."""
        super().__init__(
            f"An item on topic {topic!r} takes {size:,} bytes encoded; the limit is {limit:,}. "
            "Store large values elsewhere and publish a reference."
        )
        self.topic = topic
        self.size = size
        self.limit = limit


class DecodeError(ItemError, ValueError):
    """A stored item could not be decoded; iteration may go on after it."""

    def __init__(self, topic: str, offset: int, reason: BaseException) -> None:
        """Record where the item stands."""
        super().__init__(f"Item {offset} on topic {topic!r} could not be decoded: {reason}")
        self.topic = topic
        self.offset = offset


class InvalidOffsetError(WorkflowStreamError, ValueError):
    """An offset is negative, of a wrong type, or past what the call allows."""

    def __init__(self, offset: object, why: str) -> None:
        """Record the offending offset."""
        super().__init__(f"Offset {offset!r}: {why}")
        self.offset = offset


class ForkOffsetError(InvalidOffsetError):
    """A fork was to begin past what its source holds.

    Attributes:
        why: What is wrong with the offset, in a sentence.
    """

    why: str = ""

    def __init__(self, offset: object, why: str) -> None:
        """Record the offset, and what is wrong with it."""
        super().__init__(offset, why)
        self.why = why


class BatchTooLargeError(WorkflowStreamError, ValueError):
    """What was to be written is more than one batch can hold; write it in several.

    Attributes:
        why: What it is over, in a sentence.
    """

    why: str = ""

    def __init__(self, why: str) -> None:
        """Record what it is over."""
        super().__init__(why)
        self.why = why


class _OfWorkflow(WorkflowStreamError):
    def __init__(self, workflow_id: str, message: str) -> None:
        super().__init__(f"Workflow {workflow_id!r}: {message}")
        self.workflow_id = workflow_id


class StreamNotFoundError(_OfWorkflow):
    """There is no such workflow, or it does not host a stream."""


class StreamGoneError(StreamNotFoundError):
    """The stream was hosted by this package, and has been deleted or has expired.

    Its name is free, unless it has forks or has been taken again.

    Attributes:
        has_forks: Whether it was deleted and is kept, unreadable, for its forks.
        replaced: Whether another stream or workflow has its name by now.
    """

    has_forks: bool = False
    replaced: bool = False

    def __init__(
        self, workflow_id: str, *, has_forks: bool = False, replaced: bool = False
    ) -> None:
        """Record the stream, and whether it has forks or has been replaced."""
        why = "is gone"
        if has_forks:
            why = "has been deleted; only forks of it are left"
        elif replaced:
            why = "is gone, and another one has its name"
        super().__init__(workflow_id, f"the stream {why}")
        self.has_forks = has_forks
        self.replaced = replaced


class _WithReason(_OfWorkflow):
    why: str = ""

    def __init__(self, workflow_id: str, why: str) -> None:
        """Record the stream, and what is the matter in a sentence without its name."""
        super().__init__(workflow_id, why)
        self.why = why


class StreamExistsError(_WithReason):
    """There is a stream of this name that was made in another way.

    Attributes:
        why: What is the matter, in a sentence.
        differs: What of it is not as it was asked for, by the names of the parameters of
            ``create_stream``: ``content_type``, ``ttl``, ``expires_at``, ``forked_from``,
            ``fork_offset``, ``closed``. Empty if it is a workflow's own stream, or deleted.
    """

    differs: tuple[str, ...] = ()

    def __init__(self, workflow_id: str, why: str, differs: tuple[str, ...] = ()) -> None:
        """Record what differs."""
        super().__init__(workflow_id, why)
        self.differs = differs


class StreamNotHostedError(_OfWorkflow):
    """The stream is that of a workflow of the user's, and begins and ends with it.

    Only streams that ``create_stream`` or a PUT has made are closed, deleted and forked.
    """

    def __init__(self, workflow_id: str) -> None:
        """Record the stream."""
        super().__init__(workflow_id, "its stream was not made by create_stream or by PUT")


class StreamNotReadyError(_OfWorkflow):
    """The stream's history is not there yet; it is a little later."""


class StreamNotOpenedError(StreamNotReadyError):
    """The workflow runs, and no worker has opened its stream yet."""


class StreamUnfinishedError(StreamNotReadyError):
    """What a hosted stream was made with has not all been written yet, so nobody else may write.

    A large fork takes a while to copy. If the call that made the stream broke off, only the same
    call finishes it; else delete the stream.
    """

    def __init__(self, workflow_id: str) -> None:
        """Record the stream."""
        super().__init__(
            workflow_id,
            "what the stream was made with has not all been written yet. If that goes on, the call "
            "or PUT that made it broke off: repeat it, with the same content, or delete the stream",
        )


class ForkError(_WithReason):
    """A stream cannot be forked, or not at this offset.

    Attributes:
        why: Why not, in a sentence.
    """


class ForkTooLargeError(ForkError):
    """A fork would begin with more than can be copied; fork at a lower offset."""


class StreamClosedError(_OfWorkflow):
    """The workflow has ended, so nothing can be published to it any more."""


class StreamCorruptedError(_OfWorkflow):
    """A run's opening record does not match the end of the run before it."""


class CodecError(StreamCorruptedError):
    """The client's payload codec cannot read what stands in the history.

    Publishers, worker and readers need the same codec and keys. ``__cause__`` is what the
    codec raised; there is none if the client has no codec and needs one.
    """


class HostUnavailableError(_OfWorkflow):
    """No worker answers, and the stream stands in a worker's memory only.

    So it is with streams that the contrib hosts; others are read without any worker.
    """


class RunFullError(_OfWorkflow):
    """The current run's history is nearly full, and the workflow does not roll over.

    The server would end the workflow at 50 MiB (``limit.historySize.error``). Publishing goes
    on as soon as the workflow continues as new; see ``WorkflowStream.rollover_due``.
    """

    def __init__(self, workflow_id: str, size: int, coming: int = 0) -> None:
        """Record the workflow, the bytes that its history holds, and those that were to come."""
        more = f", and {coming:,} more would bring it" if coming else ""
        super().__init__(
            workflow_id,
            f"its history holds {size:,} bytes{more}, near the server's limit. Its worker is "
            "behind, or it does not continue as new when rollover_due",
        )
        self.size = size
        self.coming = coming


class BufferFullError(_OfWorkflow):
    """The publisher's buffer is full; the rejected item was not taken.

    Await ``flush()`` between bursts, or raise ``max_buffer_items`` / ``max_buffer_bytes``.
    """


class FencedError(_OfWorkflow):
    """A newer attempt of this activity has published, so this one's items are dropped."""


class PublishError(_OfWorkflow):
    """Items were not delivered; ``__cause__`` says why.

    The publisher has dropped them. It can be used again, for what is published from now on.

    Attributes:
        undelivered: How many items the server did not acknowledge.
        uncertain: How many of them were sent, without an answer. Either all of these are in
            the stream or none.
    """

    def __init__(
        self, workflow_id: str, undelivered: int, reason: BaseException, *, uncertain: int = 0
    ) -> None:
        """Record how many items did not get through."""
        perhaps = f" ({uncertain} of them may have been)" if uncertain else ""
        super().__init__(
            workflow_id, f"{undelivered} item(s) were not delivered{perhaps}: {reason}"
        )
        self.undelivered = undelivered
        self.uncertain = uncertain


class PublishTimeoutError(PublishError, TimeoutError):
    """A batch could not be delivered within ``max_retry_duration``."""


class ConnectionFailedError(WorkflowStreamError):
    """The server did not do what was asked; ``address`` names it where it is known."""

    def __init__(self, message: str, *, address: str | None = None) -> None:
        """Record the server's address."""
        super().__init__(message)
        self.address = address


class NamespaceNotFoundError(ConnectionFailedError):
    """The namespace does not exist on this server."""


class PermissionDeniedError(ConnectionFailedError):
    """The credentials do not allow this call, or there are none."""


class ServerUnavailableError(ConnectionFailedError):
    """The server cannot be reached."""


class RequestRejectedError(ConnectionFailedError):
    """The server refused the request for a reason that has no class of its own."""
