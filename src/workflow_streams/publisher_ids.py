"""Publisher ids that say more than a name: which attempt of an activity, which session.

Ids of any other shape are opaque; the fold only deduplicates by them. Pure.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

_PREFIX = "wfs1"
_PRODUCER_PREFIX = "wfp1"
_MAX_NONCE = 32
_MAX_ACTIVITY_ID = 256


@dataclass(frozen=True, slots=True, order=True)
class Attempt:
    """Which attempt of an activity publishes.

    Ordered by the server time at which the attempt was scheduled, then by its number: the
    number alone starts again at 1 when an operator resets the activity.
    """

    scheduled_us: int
    number: int


@dataclass(frozen=True, slots=True)
class ActivityPublisher:
    """The facts in the publisher id of an activity.

    ``source`` is run id and activity id together, since activity ids repeat from run to run.
    ``activity_id`` is shortened if it is long: see :func:`short`.
    """

    run_id: str
    activity_id: str
    attempt: Attempt

    @property
    def source(self) -> str:
        """What all attempts of the one activity share."""
        return f"{self.run_id}/{self.activity_id}"

    def publisher_id(self, nonce: str) -> str:
        """Return the id; ``nonce`` tells the attempt's publishers apart."""
        a = self.attempt
        return f"{_PREFIX}/{self.run_id}/{a.scheduled_us}/{a.number}/{nonce}/{self.activity_id}"


def short(activity_id: str) -> str:
    """Return an activity id in a length that fits into a publisher id: always the same one."""
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
    if not (scheduled.isascii() and scheduled.isdigit() and number.isascii() and number.isdigit()):
        return None
    if max(len(scheduled), len(number)) > 20:
        return None
    return ActivityPublisher(run_id, activity_id, Attempt(int(scheduled), int(number)))


@dataclass(frozen=True, slots=True)
class Producer:
    """The facts in the publisher id of an idempotent producer, after Durable Streams 5.2.1.

    Its batches are numbered without a gap, and a session (epoch) begins with the first number;
    a newer session shuts the older ones out, but what they wrote stands.
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
    if not (epoch.isascii() and epoch.isdigit()) or len(epoch) > 20:
        return None
    return Producer(producer_id, int(epoch))
