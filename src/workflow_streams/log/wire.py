"""Names and shapes of everything that crosses a process boundary.

Publish, poll and state messages are those of ``temporalio.contrib.workflow_streams`` and its
siblings; the memo records (:class:`Record`) are this package's own. Item data is padded base64
of a serialised ``Payload``; the payload codec runs once, on the envelope, never per item.

What makes payloads of these messages and reads them stands beside this module: ``batches.py`` for
publish signals, ``records.py`` for memo records.
"""

# No `from __future__ import annotations`: it makes payload converters look types up by the name of
# their module, which the sandbox does not know when the package was passed through.
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

# Handlers of a workflow that hosts a stream. A poll is an Update or a Query.
PUBLISH_SIGNAL = "__temporal_workflow_stream_publish"
POLL = "__temporal_workflow_stream_poll"
OFFSET_QUERY = "__temporal_workflow_stream_offset"

# Types of the application errors that a host answers with.
STREAM_DRAINING = "StreamDraining"
NOT_A_POLL = "NotAPoll"
STREAM_CLOSED = "StreamClosed"
TRUNCATED_OFFSET = "TruncatedOffset"
TRUNCATE_OUT_OF_RANGE = "TruncateOutOfRange"

MEMO_KEY = "__temporal_workflow_stream_record"
"""Memo field that holds the last record of a run."""

SETUP_MEMO_KEY = "__temporal_workflow_stream_setup"
"""Memo field of a hosted stream: what it was made with, set when its workflow is started."""
CLOSED_MEMO_KEY = "__temporal_workflow_stream_closed"
"""Memo field of a hosted stream: whether it has been closed, and its workflow stays all the same.
Hosts of earlier versions do not have it."""
UNFINISHED_MEMO_KEY = "__temporal_workflow_stream_unfinished"
"""Memo field of a hosted stream: whether some of what it was made with has yet to be written."""
EXPIRES_MEMO_KEY = "__temporal_workflow_stream_expires"
"""Memo field of a hosted stream: when it expires (RFC 3339), if that was set."""
EXPIRED_MEMO_KEY = "__temporal_workflow_stream_expired"
"""Memo field of a hosted stream that has expired or was deleted, set right before its end."""
DELETED_MEMO_KEY = "__temporal_workflow_stream_deleted"
"""Memo field of a hosted stream that has been deleted, and is kept for its forks only."""

DELETION_PUBLISHER = "workflow-streams-deletion"
"""Publisher of the batch that closes a stream which is deleted and kept for its forks."""

PATCH_ID = "workflow-streams-history"
"""Id for ``workflow.patched``; ``TemporalChangeVersion`` finds the streams of a namespace by it."""

RECORD_VERSION = 1

# The server's limit for all payloads of a signal together (limit.blobSize.error).
MAX_SIGNAL_BYTES = 2 * 1024 * 1024
# The server fails a command or signal whose payload exceeds 2 MiB (limit.blobSize.error).
# The margin leaves room for the envelope and for what an encryption codec adds.
MAX_ITEM_BYTES = 2 * 1024 * 1024 - 64 * 1024
# The SDK warns about payloads over 512 KiB. The margin is the same.
MAX_BATCH_BYTES = 448 * 1024
# Items in one answer to a poll, unless the first of them is larger.
MAX_POLL_BYTES = 1_000_000

# Size of a piece of a batch that is cut.
FRAGMENT_BYTES = 1_250_000
MAX_FRAGMENTS = 64
MAX_ID_CHARACTERS = 512
"""The longest publisher id or ordering key, since a run hands these on to the next."""

Entry = tuple[str, bytes, bytes]
"""One item: its topic, and the kind and data of its payload (see ``payloads.py``)."""


@dataclass
class PublishEntry:
    """One item of a publish signal; ``data`` is base64 of a serialised Payload."""

    topic: str
    data: str


@dataclass
class PublishInput:
    """Argument of the publish signal: a batch, taken whole or not at all.

    Batches of one ``publisher_id`` are numbered by ``sequence`` from 1; an empty id turns
    deduplication off.
    """

    items: list[PublishEntry] = field(default_factory=list[PublishEntry])
    publisher_id: str = ""
    sequence: int = 0


@dataclass
class PollInput:
    """Argument of the poll Update (waits) and Query (does not). No topics means all."""

    topics: list[str] = field(default_factory=list[str])
    from_offset: int = 0


@dataclass
class WireItem:
    """One item of a poll result or of a state snapshot."""

    topic: str
    data: str
    offset: int = 0


@dataclass
class PollResult:
    """A page of items. ``next_offset`` is where the next poll starts."""

    items: list[WireItem] = field(default_factory=list[WireItem])
    next_offset: int = 0
    more_ready: bool = False


@dataclass
class PublisherState:
    """Deduplication state of one publisher: its last batch and when that came."""

    sequence: int
    last_seen: datetime


@dataclass
class RunRef:
    """An earlier run of the stream's workflow and the first offset it wrote."""

    run_id: str
    first_offset: int


@dataclass
class WorkflowStreamState:
    """Snapshot of a stream that continue-as-new carries to the next run.

    Type the carrying field ``WorkflowStreamState | None``, never ``Any``: an untyped field
    arrives as a plain dict.

    The items stay in the history, so ``log`` is empty and ``base_offset`` is the head. In snapshots
    taken by the contrib, ``log`` is the whole retained stream and starts at ``base_offset``; those
    have no ``head`` and no ``base``.

    Attributes:
        log: Items, only in snapshots of the contrib.
        base_offset: Offset at which ``log`` starts.
        publishers: What is known of each publisher, by its id.
        head: Offset that the next item gets.
        runs: Earlier runs that may hold retained items.
        base: Lowest retained offset.
        order: Highest ordering key so far; empty if there is none.
        malformed: How many signals were ignored because their argument is no batch.
        tail: The last items before the head for clients that poll, as the JSON text of a list of
            topics and data; empty if none has polled in the last runs.
        unpolled_runs: In how many runs in a row none has polled.
        written: That of :class:`Opening`, as JSON text.
        closed: That of :class:`Opening`, as JSON text.
        subscribers: Offsets from which those will ask next that have polled in the last seconds.
    """

    log: list[WireItem] = field(default_factory=list[WireItem])
    base_offset: int = 0
    publishers: dict[str, PublisherState] = field(default_factory=dict[str, PublisherState])
    head: int | None = None
    runs: list[RunRef] = field(default_factory=list[RunRef])
    base: int | None = None
    order: str = ""
    malformed: int = 0
    tail: str = ""
    unpolled_runs: int = 0
    written: str = ""
    closed: str = ""
    subscribers: list[int] = field(default_factory=list[int])


@dataclass(frozen=True, slots=True)
class Batch:
    """A publish signal, checked.

    Attributes:
        entries: Topic and data of its items.
        publisher_id: Identifies the publisher; empty turns deduplication off.
        sequence: Number of the batch among the publisher's, from 1.
        tag: Lets the sender recognize the batch in the history; empty if it need not.
        close: Whether the batch closes the stream, where the stream lets batches do that.
        order: Key that has to rise from batch to batch; None if the writer gives none.
    """

    entries: Sequence[Entry]
    publisher_id: str
    sequence: int
    tag: str = ""
    close: bool = False
    order: str | None = None


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of a batch that is too large for one signal.

    The message in the compact form is cut into ``count`` pieces; this is the one at ``index``. All
    fragments of the batch carry its ``tag``.
    """

    tag: str
    index: int
    count: int
    piece: bytes


@dataclass(frozen=True, slots=True)
class Rules:
    """What a stream that is written over HTTP requires of its writers.

    Attributes:
        content_type: Media type of everything in it.
        closable: Whether a batch may close it.
    """

    content_type: str
    closable: bool = True


@dataclass(frozen=True, slots=True)
class Closing:
    """The batch that closed a stream, and the run in which it did."""

    publisher_id: str
    sequence: int
    run_id: str


@dataclass(frozen=True, slots=True)
class Opening:
    """First record of a run: the state of the fold when the run began, and where earlier runs are.

    Attributes:
        head: Offset of the run's first item.
        base: Lowest retained offset.
        publishers: Last accepted sequence by publisher id.
        runs: Earlier runs that may hold retained items.
        keep_last: With a ring buffer, how many items are retained; else None.
        rules: What a stream that is written over HTTP requires of its writers; else None.
        order: Highest ordering key so far; empty if there is none.
        written: Which offsets the newest attempts wrote in earlier runs, by execution: of
            another workflow's activity, or another workflow. A retry takes back what it wrote.
        closed: What closed the stream in an earlier run; None if it is open.
    """

    head: int
    base: int
    publishers: dict[str, int]
    runs: list[RunRef]
    keep_last: int | None = None
    rules: Rules | None = None
    order: str = ""
    written: dict[str, list[range]] = field(default_factory=dict[str, list[range]])
    closed: Closing | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One memo record: own publishes, a truncation, or the opening of a run.

    ``base`` is the stream's base offset after the record, so that the last one, readable in
    the workflow's memo, tells a reader where the retained stream begins.
    """

    base: int
    entries: list[Entry] = field(default_factory=list[Entry])
    opening: Opening | None = None
    ring: bool = False
    """Whether a ring buffer moves the base further on with each item after this record."""
