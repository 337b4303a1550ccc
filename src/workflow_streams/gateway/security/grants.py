"""The answer to "may it?": what a request may do, whose it is, and until when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Literal

from starlette.requests import HTTPConnection

from ..refusals import ForbiddenError
from .claims import Action, Rule

Source = Literal["anonymous", "token", "signed-url"]


def _everything(workflow_id: str) -> bool:
    return bool(workflow_id)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a request may do.

    Attributes:
        topics: The topics that it may touch: the filter to read by. None means all; the set
            is never empty.
        expires_at: Unix time in seconds at which the permission ends, also for a connection
            that is live then; None if it does not end.
        subject: Whose request it is: the token's ``sub``; empty if nobody said.
        source: Where the permission comes from.
        rules: All that the credentials allow, for listings.
        visible: Which of the ids that the rules allow a listing shows.
        limited: Whether the credentials allow these topics only, and not just the request names
            them. A check that makes a grant of its own may leave it as it is.
        varies_on: Header fields of the request by which the login tells users apart; empty where
            there is no login, and the answer is the same for everybody. The gateway sets it.
    """

    topics: frozenset[str] | None
    expires_at: float | None
    subject: str = ""
    source: Source = "anonymous"
    rules: tuple[Rule, ...] = ()
    visible: Callable[[str], bool] = field(default=_everything, repr=False)
    varies_on: tuple[str, ...] = ()
    limited: bool = True

    @property
    def may_touch_all(self) -> bool:
        """Whether it is for all topics of a stream, whichever the request names."""
        return self.topics is None or not self.limited

    @property
    def is_private(self) -> bool:
        """Whether answers may not be kept by caches that serve others, too."""
        return bool(self.varies_on) or self.expires_at is not None

    @property
    def client(self) -> str:
        """What live connections are counted by; empty if nobody said whose they are."""
        return f"subject {self.subject}" if self.subject else ""

    def seconds_left(self, now: float) -> float | None:
        """Return how long the permission holds from ``now`` (Unix time); None for ever."""
        return None if self.expires_at is None else max(0.0, self.expires_at - now)

    def allows_topic(self, topic: str) -> bool:
        """Whether the request may touch items of this topic."""
        return self.topics is None or topic in self.topics

    def may_list(self, workflow_id: str) -> bool:
        """Whether a listing may show this workflow: whether it may be read."""
        return self.visible(workflow_id) and any(
            rule.covers("read", workflow_id) for rule in self.rules
        )

    @property
    def listable_prefixes(self) -> frozenset[str]:
        """What the ids that a listing may show begin with: any of these."""
        reading = (rule for rule in self.rules if "read" in rule.actions)
        return frozenset(pattern.prefix for rule in reading for pattern in rule.ids)

    def narrowed(
        self,
        *,
        topics: Collection[str] | None = None,
        expires_at: float | None = None,
        subject: str | None = None,
        visible: Callable[[str], bool] | None = None,
    ) -> Grant:
        """Return a grant that allows no more than this one.

        Args:
            topics: Of the topics allowed so far, keep these.
            expires_at: End at this Unix time, if that is earlier.
            subject: Whose request it is.
            visible: In listings, show only ids for which this is true as well.

        Raises:
            ForbiddenError: No topic is left.
        """
        kept = self.topics
        if topics is not None:
            kept = frozenset(topics) if kept is None else kept & frozenset(topics)
            if not kept:
                raise ForbiddenError
        ends = [at for at in (self.expires_at, expires_at) if at is not None]
        before = self.visible
        return replace(
            self,
            topics=kept,
            limited=self.limited or topics is not None,
            expires_at=min(ends) if ends else None,
            subject=self.subject if subject is None else subject,
            visible=before if visible is None else lambda i: before(i) and visible(i),
        )


@dataclass(frozen=True, slots=True)
class Access:
    """What is asked of a user's own check.

    Attributes:
        request: The request: its headers, cookies and URL.
        action: What it wants to do.
        workflow_id: With which workflow; empty for ``list`` and ``metrics``.
        topics: With which topics; empty if it named none.
        grant: What token or signed URL allow, or everything where neither is configured.
    """

    request: HTTPConnection
    action: Action
    workflow_id: str
    topics: frozenset[str]
    grant: Grant


Check = Callable[[Access], Awaitable[Grant | None]]
"""A user's own check. It has the last word: it returns ``access.grant``, or that ``narrowed``;
None refuses with 403. It may also raise ``AuthenticationRequiredError`` (401) or
``ForbiddenError`` with words of its own. It is asked once per request, not per item; for a
second look at live connections, let it narrow ``expires_at``."""
