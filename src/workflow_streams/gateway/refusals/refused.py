"""Requests that the gateway refuses: each with its status, and with words that anybody may read.

    RefusedError
    ├── AuthenticationRequiredError   401  no credentials
    │   └── InvalidCredentialsError   401  a token or signed URL that is not valid
    │       └── ExpiredCredentialsError
    ├── AmbiguousCredentialsError     400  more than one set of credentials
    ├── InvalidWorkflowIdError        400  an id that no workflow can have
    ├── ForbiddenError                403  credentials that do not allow this
    │   ├── LocalOnlyError                 no login configured, and the request is not local
    │   └── CrossOriginError               a web page of another origin wants to change something
    ├── BodyTimeoutError              408
    ├── BodyTooLargeError             413
    ├── UrlTooLongError               414
    ├── TooManyConnectionsError       429  of one client
    ├── TooManyRequestsError          429  of one client, too fast
    ├── HeadersTooLargeError          431
    └── OverloadedError               503  too many connections overall
        ├── NoRoomForBodyError             too many bytes of bodies overall
        ├── NoRoomForWriteError            too many bytes of what bodies have become
        └── NoTurnError                    too many reads that are in work

Internal reasons (which check of a token failed, for example) are in ``cause_for_log`` and nowhere
else.
"""

from __future__ import annotations

from typing import ClassVar

from ...errors import WorkflowStreamError

Headers = tuple[tuple[str, str], ...]

_USUAL_RETRY_SECONDS = 2.0

_REALM = 'Bearer realm="workflow-streams"'


class RefusedError(WorkflowStreamError):
    """Base class: a request is refused, and the answer says no more than what is here.

    Attributes:
        status: HTTP status.
        slug: Short name of this kind of refusal, for the problem's type and as a metric's label.
        title: Short sentence, the same for all refusals of this kind.
        passes: Whether the same request may succeed later, so that coming back is worthwhile.
        resume_at: Where a client has to begin when it comes back, if it did not ask for a certain
            offset and what it asked for would mean something else by then.
        detail: A sentence about this case.
        headers: Header fields of the answer.
        cause_for_log: What only the operator may know.
    """

    status: ClassVar[int]
    slug: ClassVar[str]
    title: ClassVar[str]
    passes: ClassVar[bool] = False
    resume_at: ClassVar[str] = ""
    headers: Headers = ()

    def __init__(self, detail: str, *, cause_for_log: str = "") -> None:
        """Record what to answer and what to log."""
        super().__init__(detail)
        self.detail = detail
        self.cause_for_log = cause_for_log

    @property
    def retry_seconds(self) -> float:
        """After how many seconds a client should come back, if coming back helps at all."""
        told = dict(self.headers).get("retry-after")
        return _USUAL_RETRY_SECONDS if told is None else float(told)


class AuthenticationRequiredError(RefusedError):
    """The request carries no credentials."""

    status = 401
    slug = "authentication-required"
    title = "Authentication is required"
    headers: Headers = (("www-authenticate", _REALM),)

    def __init__(
        self,
        detail: str = "Send a bearer token, or use a signed URL.",
        *,
        cause_for_log: str = "",
    ) -> None:
        """Record what to answer and what to log."""
        super().__init__(detail, cause_for_log=cause_for_log)


class InvalidCredentialsError(AuthenticationRequiredError):
    """A token or signed URL that was not issued for this gateway, or was tampered with."""

    slug = "invalid-credentials"
    title = "The credentials are not valid"
    headers: Headers = (("www-authenticate", f'{_REALM}, error="invalid_token"'),)

    def __init__(
        self, detail: str = "The credentials are not valid here.", *, cause_for_log: str = ""
    ) -> None:
        """Record what to answer and what to log."""
        super().__init__(detail, cause_for_log=cause_for_log)


class ExpiredCredentialsError(InvalidCredentialsError):
    """A token or signed URL that has expired; a fresh one may be accepted."""

    slug = "expired-credentials"
    title = "The credentials have expired"

    def __init__(self) -> None:
        """Say the same in every case."""
        super().__init__("The credentials have expired; get fresh ones and resume.")


class AmbiguousCredentialsError(RefusedError):
    """The request carries more than one set of credentials."""

    status = 400
    slug = "ambiguous-credentials"
    title = "More than one set of credentials"


class InvalidWorkflowIdError(RefusedError):
    """An id that no workflow can have, or that proxies may read as another path."""

    status = 400
    slug = "invalid-workflow-id"
    title = "Not a workflow id"


class ForbiddenError(RefusedError):
    """The credentials do not allow this."""

    status = 403
    slug = "forbidden"
    title = "Not allowed"
    headers: Headers = (("www-authenticate", f'{_REALM}, error="insufficient_scope"'),)

    def __init__(
        self, detail: str = "The credentials do not allow this.", *, cause_for_log: str = ""
    ) -> None:
        """Record what to answer and what to log."""
        super().__init__(detail, cause_for_log=cause_for_log)


class LocalOnlyError(ForbiddenError):
    """There is no login, and the request is not local: another machine, a proxy or another name."""

    slug = "local-only"
    title = "This gateway serves its own machine only"
    headers: Headers = ()


class CrossOriginError(ForbiddenError):
    """A web page of an origin that is not on the list wants to change something."""

    slug = "cross-origin"
    title = "The page's origin is not on the list"
    headers: Headers = ()


class BodyTimeoutError(RefusedError):
    """The request's body stopped coming."""

    status = 408
    slug = "body-timeout"
    title = "The body did not arrive in time"
    headers: Headers = (("connection", "close"),)


class BodyTooLargeError(RefusedError):
    """The request's body is over the limit."""

    status = 413
    slug = "body-too-large"
    title = "The body is too large"
    headers: Headers = (("connection", "close"),)


class UrlTooLongError(RefusedError):
    """Path and query together are over the limit."""

    status = 414
    slug = "url-too-long"
    title = "The URL is too long"


class TooManyConnectionsError(RefusedError):
    """One client has as many connections as it may have."""

    status = 429
    slug = "too-many-connections"
    title = "Too many connections from one client"
    passes = True
    headers: Headers = (("retry-after", "5"),)


class TooManyRequestsError(RefusedError):
    """One client asks more often than it may."""

    status = 429
    slug = "too-many-requests"
    title = "Too many requests from one client"
    passes = True

    def __init__(self, seconds: int) -> None:
        """Record after how many seconds there is room for another request."""
        super().__init__(f"Ask again in {seconds} s.")
        self.headers: Headers = (("retry-after", str(seconds)),)


class HeadersTooLargeError(RefusedError):
    """The request's header fields are over the limit."""

    status = 431
    slug = "headers-too-large"
    title = "The header fields are too large"


class OverloadedError(RefusedError):
    """The gateway has as many connections as it accepts."""

    status = 503
    slug = "overloaded"
    title = "The gateway takes no more connections now"
    passes = True
    headers: Headers = (("retry-after", "5"),)


class NoRoomForBodyError(OverloadedError):
    """The gateway holds as many bytes of bodies as it accepts."""

    title = "The gateway takes no more bodies now"
    headers: Headers = (("retry-after", "1"), ("connection", "close"))

    def __init__(self) -> None:
        """Say the same in every case."""
        super().__init__("The gateway is handling as many bodies as it accepts; try again.")


class NoRoomForWriteError(OverloadedError):
    """The gateway, or one client, has as many bytes of writes in work as there may be."""

    title = "The gateway takes no more writes now"
    headers: Headers = (("retry-after", "1"),)

    def __init__(self) -> None:
        """Say the same in every case."""
        super().__init__("The writes that are in work take all the room there is; try again.")


class NoTurnError(OverloadedError):
    """The gateway is at work on as many reads as it can hold, and none was done in time."""

    title = "The gateway has too much to read now"
    headers: Headers = (("retry-after", "5"),)

    def __init__(self) -> None:
        """Say the same in every case."""
        super().__init__("Too many other reads came first; try again.")
