"""Publisher ids that name an attempt of an activity or workflow, or the session of a producer.

Ids of any other shape are opaque: the fold only deduplicates by them. Pure.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from .wire import MAX_ID_CHARACTERS

_PREFIX = "wfs1"
_WORKFLOW_PREFIX = "wfw1"
_PRODUCER_PREFIX = "wfp1"
_MAX_NONCE = 32
_MAX_ACTIVITY_ID = 256


@dataclass(frozen=True, slots=True, order=True)
class Attempt:
    """Which attempt of an activity publishes, or of a workflow.

    Attempts are ordered by the server time at which the attempt was scheduled, or the run begun,
    and then by number. The number alone would not do: it starts again at 1 when an operator resets
    the activity, and when the workflow continues as new.
    """

    scheduled_us: int
    number: int


@dataclass(frozen=True, slots=True)
class ActivityPublisher:
    """The facts in the publisher id of an activity.

    ``execution`` is run id and activity id together, since activity ids repeat from run to run.
    ``activity_id`` is shortened if it is long: see :func:`short`.
    """

    run_id: str
    activity_id: str
    attempt: Attempt

    @property
    def execution(self) -> str:
        """What all attempts of the one activity share."""
        return f"{self.run_id}/{self.activity_id}"

    @property
    def name(self) -> str:
        """The id under which readers are told of a retry."""
        return self.activity_id

    def supersedes(self, earlier: Retried) -> bool:  # noqa: ARG002 (WorkflowPublisher needs it)
        """Whether it takes back what an earlier attempt of the activity wrote."""
        return True

    def publisher_id(self, nonce: str) -> str:
        """Return the id; ``nonce`` tells the attempt's publishers apart."""
        a = self.attempt
        return f"{_PREFIX}/{self.run_id}/{a.scheduled_us}/{a.number}/{nonce}/{self.activity_id}"


@dataclass(frozen=True, slots=True)
class WorkflowPublisher:
    """The facts in the publisher id of workflow code that publishes to another workflow's stream.

    ``first_run_id`` is the first run of the chain, which retries and cron schedules extend as well
    as continue-as-new. ``run`` and ``before`` are short forms of the run and of the one that it
    follows; ``attempt.number`` is 1 unless the run is a retry.
    """

    first_run_id: str
    workflow_id: str
    attempt: Attempt
    run: str
    before: str

    @property
    def execution(self) -> str:
        """What all runs of the chain share. An activity's differs, as it begins with a run id."""
        return f"{_WORKFLOW_PREFIX}/{self.first_run_id}/{self.workflow_id}"

    @property
    def name(self) -> str:
        """The id under which readers are told of a retry."""
        return self.workflow_id

    def supersedes(self, earlier: Retried) -> bool:
        """Whether this is a retry of the run ``earlier``, which has written before it.

        After continue-as-new and in a cron schedule, what the previous run wrote stands. Runs that
        published nothing may lie between ``earlier`` and this one; they are taken to be retries,
        too.
        """
        if not isinstance(earlier, WorkflowPublisher) or self.attempt.number == 1:
            return False
        follows = earlier.run == self.before
        return follows or earlier.attempt.number < self.attempt.number - 1

    def publisher_id(self, nonce: str) -> str:
        """Return the id; ``nonce`` tells the run's publishers apart."""
        at = self.attempt
        return (
            f"{_WORKFLOW_PREFIX}/{self.first_run_id}/{at.scheduled_us}/{at.number}"
            f"/{self.run}/{self.before}/{nonce}/{self.workflow_id}"
        )


Retried = ActivityPublisher | WorkflowPublisher


def short(activity_id: str) -> str:
    """Shorten an activity id so that it fits into a publisher id, always in the same way."""
    if len(activity_id) <= _MAX_ACTIVITY_ID:
        return activity_id
    digest = hashlib.sha256(activity_id.encode(errors="surrogatepass")).hexdigest()[:32]
    return f"{activity_id[: _MAX_ACTIVITY_ID - 33]}~{digest}"


def nonce_of(name: str) -> str:
    """Return a nonce for the publisher ``name``: always the same, bounded, without a slash."""
    if len(name) <= _MAX_NONCE and "/" not in name:
        return name
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:_MAX_NONCE]


def parse_publisher_id(publisher_id: str) -> ActivityPublisher | None:
    """Invert :meth:`ActivityPublisher.publisher_id`; None for ids of any other shape."""
    parts = publisher_id.split("/", 5)
    if len(parts) != 6 or parts[0] != _PREFIX:
        return None
    _, run_id, scheduled, number, _, activity_id = parts
    attempt = _attempt(scheduled, number)
    return None if attempt is None else ActivityPublisher(run_id, activity_id, attempt)


def parse_workflow_publisher(publisher_id: str) -> WorkflowPublisher | None:
    """Invert :meth:`WorkflowPublisher.publisher_id`; None for ids of any other shape."""
    parts = publisher_id.split("/", 7)
    if len(parts) != 8 or parts[0] != _WORKFLOW_PREFIX:
        return None
    _, first_run_id, begun, number, run, before, _, workflow_id = parts
    attempt = _attempt(begun, number)
    if attempt is None:
        return None
    return WorkflowPublisher(first_run_id, workflow_id, attempt, run, before)


def parse_retried(publisher_id: str) -> Retried | None:
    """Return which attempt of an activity or workflow an id names; None if it has another shape."""
    return parse_publisher_id(publisher_id) or parse_workflow_publisher(publisher_id)


def _attempt(scheduled: str, number: str) -> Attempt | None:
    if _is_number(scheduled) and _is_number(number):
        return Attempt(int(scheduled), int(number))
    return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 20


@dataclass(frozen=True, slots=True)
class Producer:
    """The facts in the publisher id of an idempotent producer, after Durable Streams 5.2.1.

    Its batches are numbered without a gap, and each session (epoch) begins with 1 again. A newer
    session fences the older ones, but what they wrote stands.
    """

    producer_id: str
    epoch: int

    @property
    def publisher_id(self) -> str:
        """The id under which it publishes."""
        return f"{_PRODUCER_PREFIX}/{self.epoch}/{self.producer_id}"


def parse_producer(publisher_id: str) -> Producer | None:
    """Invert :attr:`Producer.publisher_id`; None for ids of any other shape."""
    parts = publisher_id.split("/", 2)
    if len(parts) != 3 or parts[0] != _PRODUCER_PREFIX:
        return None
    _, epoch, producer_id = parts
    return Producer(producer_id, int(epoch)) if _is_number(epoch) else None


def fits_state(text: str) -> bool:
    """Whether the state of a run can hold this id or key.

    It has to be short, and without lone surrogates, which some converters cannot write as JSON.
    """
    if len(text) > MAX_ID_CHARACTERS:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
