"""Grants: what a request may do, on whose behalf, and until when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Literal

from starlette.requests import HTTPConnection

from ..refusals import ForbiddenError
from .claims import Action, Rule

Credential = Literal["anonymous", "token", "signed-url"]


def _everything(workflow_id: str) -> bool:
    return bool(workflow_id)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a request may do.

    Attributes:
        topics: The topics that it may touch, which also filter what it reads. None means all; the
            set is never empty.
        expires_at: Unix time in seconds at which the permission ends, even for a connection that
            is live at that time; None if it does not end.
        subject: Who makes the request: the token's ``sub``; empty if unknown.
        credential: Where the permission comes from.
        rules: Everything that the credentials allow, for listings.
        visible: Which of the ids that the rules allow a listing shows.
        limited: True if the credentials allow these topics only; false if only the request itself
            is limited to them. A check that makes a grant of its own may leave the default.
        varies_on: Header fields of the request by which the login tells users apart; empty without
            login, when the answer is the same for everybody. The gateway sets it.
    """

    topics: frozenset[str] | None
    expires_at: float | None
    subject: str = ""
    credential: Credential = "anonymous"
    rules: tuple[Rule, ...] = ()
    visible: Callable[[str], bool] = field(default=_everything, repr=False)
    varies_on: tuple[str, ...] = ()
    limited: bool = True

    @property
    def may_touch_all(self) -> bool:
        """Whether all topics of a stream are allowed, whichever the request names."""
        return self.topics is None or not self.limited

    @property
    def is_private(self) -> bool:
        """Whether answers must not be kept by shared caches."""
        return bool(self.varies_on) or self.expires_at is not None

    @property
    def client(self) -> str:
        """The client for which live connections are counted; empty if the subject is unknown."""
        return f"subject {self.subject}" if self.subject else ""

    def seconds_left(self, now: float) -> float | None:
        """Return how long the permission lasts from ``now`` on (Unix time); None for ever."""
        return None if self.expires_at is None else max(0.0, self.expires_at - now)

    def may_list(self, workflow_id: str) -> bool:
        """Whether a listing may show this workflow, which is so if it may be read."""
        return self.visible(workflow_id) and any(
            rule.covers("read", workflow_id) for rule in self.rules
        )

    @property
    def listable_prefixes(self) -> frozenset[str]:
        """Prefixes, one of which every id begins with that a listing may show."""
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
            topics: Keep only these of the topics that are allowed so far.
            expires_at: End at this Unix time, if that is earlier.
            subject: Who makes the request.
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
    """What a user's own check has to decide.

    Attributes:
        request: The request: its headers, cookies and URL.
        action: What it wants to do.
        workflow_id: The workflow that it is about; empty for ``list`` and ``metrics``.
        topics: The topics that it is about; empty if it names none.
        grant: What the token or signed URL allows, or everything if neither is configured.
    """

    request: HTTPConnection
    action: Action
    workflow_id: str
    topics: frozenset[str]
    grant: Grant


Check = Callable[[Access], Awaitable[Grant | None]]
"""A user's own check, which has the last word.

It returns ``access.grant``, possibly ``narrowed``, or None to refuse with 403. It may also raise
``AuthenticationRequiredError`` (401) or ``ForbiddenError`` with words of its own. It is called once
for each request, not for each item. To check live connections again, let it narrow ``expires_at``.
"""
