"""Turns errors into answers: the protocol's status and a problem document (RFC 9457).

In addition to the refusals of :mod:`.refused`:

    RefusedError
    ├── InvalidRequestError           400  malformed parameter, header or body
    ├── NoStreamError                 404  no such stream, or not a stream
    │   └── NotStartedError                its workflow has not been started yet
    ├── StaleProducerError            403  a newer session of the producer has written
    ├── NotOfferedError               405  this stream does not support the request
    ├── ConflictError                 409  closed, other type, or out of order
    ├── GoneError                     410  the offset is no longer one of this stream, or the
    │                                      stream was deleted and has forks
    ├── TooLargeError                 413  more than one batch can hold
    ├── InternalError                 500  a fault of the gateway itself
    ├── UnsupportedError              501  not with streams hosted by the contrib
    ├── BrokenStreamError             502  what Temporal holds cannot be read as a stream
    └── UnavailableError              503  not now; try again
        ├── NotOpenedError                 no worker has run its workflow yet
        └── UnfinishedError                what it was made with has not all been written yet

:func:`refusal_of` is the one place where this package's errors become answers.
"""

from __future__ import annotations

import logging

from starlette.requests import Request
from starlette.responses import Response

from ... import errors
from .event_sources import EVENT_HEADERS
from .refused import BodyTimeoutError, BodyTooLargeError, Headers, NoRoomForBodyError, RefusedError
from .responses import note_refusal, problem_body, refusal_events, request_id_of

logger = logging.getLogger("workflow_streams.gateway")

_RETRY = (("retry-after", "1"),)
_MENDED_SECONDS = 10.0


class InvalidRequestError(RefusedError):
    """A parameter, a header or the body is not what it should be."""

    status = 400
    slug = "invalid-request"
    title = "The request is not valid"


class NoStreamError(RefusedError):
    """There is no such stream, or the workflow hosts none."""

    status = 404
    slug = "stream-not-found"
    title = "There is no such stream"

    def __init__(self, detail: str = "There is no stream of this name.", **more: str) -> None:
        """Record what to answer and what to log."""
        super().__init__(detail, **more)


class NotStartedError(NoStreamError):
    """There is no workflow of this name, at least not yet."""

    passes = True
    # A client that asked for the head of a stream that does not exist yet wants all of its items.
    resume_at = "-1"


class NotOfferedError(RefusedError):
    """The stream does not support this method; ``allowed`` names those that it does."""

    status = 405
    slug = "not-offered"
    title = "This stream does not support that"

    def __init__(self, detail: str, *, allowed: str = "GET, HEAD, POST") -> None:
        """Record what to answer, and the methods that the stream supports."""
        super().__init__(detail)
        self.headers: Headers = (("allow", allowed),)


class ConflictError(RefusedError):
    """The request does not suit the stream's present state."""

    status = 409
    slug = "conflict"
    title = "The state of the stream does not allow this"

    def __init__(self, detail: str, *, headers: Headers = ()) -> None:
        """Record what to answer; ``headers`` hold facts that a client can act on."""
        super().__init__(detail)
        self.headers = headers


class StaleProducerError(RefusedError):
    """A newer session of this producer has written."""

    status = 403
    slug = "stale-producer"
    title = "A newer session of this producer has written"

    def __init__(self, epoch: int) -> None:
        """Record the newer session's epoch."""
        super().__init__(f"The producer's epoch is now {epoch}.")
        self.headers: Headers = (("producer-epoch", str(epoch)),)


class GoneError(RefusedError):
    """The offset lies before what is retained, or the stream has been deleted."""

    status = 410
    slug = "gone"
    title = "It is no longer there"

    def __init__(self, detail: str, *, headers: Headers = ()) -> None:
        """Record what to answer; ``headers`` say where a reader can go on."""
        super().__init__(detail)
        self.headers = headers


class TooLargeError(RefusedError):
    """The request writes more than one batch can hold."""

    status = 413
    slug = "too-large"
    title = "It is too large to be written at once"


class InternalError(RefusedError):
    """A fault of the gateway."""

    status = 500
    slug = "internal"
    title = "The gateway has failed"

    def __init__(self, *, cause_for_log: str = "") -> None:
        """Record what to log; the client is told no more than this sentence."""
        super().__init__(
            "Something went wrong; the gateway's log has more under this request's id.",
            cause_for_log=cause_for_log,
        )


class UnsupportedError(RefusedError):
    """The stream's host cannot do this."""

    status = 501
    slug = "unsupported"
    title = "This stream's host cannot do that"


class BrokenStreamError(RefusedError):
    """What Temporal holds cannot be read as a stream."""

    status = 502
    slug = "broken-stream"
    title = "The stream cannot be read"
    passes = True

    @property
    def retry_seconds(self) -> float:
        """Longer than usual, since an operator has to repair this."""
        return _MENDED_SECONDS


class UnavailableError(RefusedError):
    """It does not work now, but may work a little later."""

    status = 503
    slug = "unavailable"
    title = "Not available now"
    passes = True
    headers: Headers = _RETRY


class NotOpenedError(UnavailableError):
    """The workflow is running, but no worker has opened its stream yet."""

    def __init__(self) -> None:
        """Say the same for every such workflow."""
        super().__init__(
            "The stream has not been opened yet; a worker has to run its workflow first."
        )


class UnfinishedError(UnavailableError):
    """What the stream was made with has not all been written yet; until then nobody else writes."""

    slug = "stream-unfinished"
    title = "The stream is still being made"

    def __init__(self) -> None:
        """Say the same for every such stream."""
        super().__init__(
            "What the stream was made with has not all been written yet. If that goes on, its PUT "
            "broke off: send it again, with the same content, or delete the stream."
        )


def refusal_of(error: errors.WorkflowStreamError) -> RefusedError:
    """Return the answer to a request that failed with one of this package's errors."""
    if isinstance(error, RefusedError):
        return error
    if (refusal := _refusal_of_life(error)) is not None:
        return refusal
    cause = f"{type(error).__name__}: {error}"
    match error:
        case errors.StreamNotFoundError():
            return NoStreamError(cause_for_log=cause)
        case errors.InvalidOffsetError() | errors.EncodeError():
            return InvalidRequestError("The request is not valid.", cause_for_log=cause)
        case errors.ItemTooLargeError():
            return TooLargeError("An item is too large.", cause_for_log=cause)
        case errors.StreamClosedError() | errors.FencedError():
            return ConflictError("The stream accepts no more items.")
        case errors.CodecError():
            return BrokenStreamError(
                "This gateway cannot decode the stream: its payload codec or key is missing, "
                "wrong or out of reach.",
                cause_for_log=cause,
            )
        case errors.StreamCorruptedError() | errors.DecodeError():
            return BrokenStreamError("The stream's history is not readable.", cause_for_log=cause)
        case errors.PermissionDeniedError():
            return BrokenStreamError(
                "Temporal does not let this gateway do that.", cause_for_log=cause
            )
        case errors.NamespaceNotFoundError() | errors.RequestRejectedError():
            return BrokenStreamError("Temporal refused the gateway's call.", cause_for_log=cause)
        case errors.RunFullError():
            return UnavailableError(
                "The stream accepts more when its workflow has rolled over.", cause_for_log=cause
            )
        case (
            errors.ServerUnavailableError()
            | errors.HostUnavailableError()
            | errors.BufferFullError()
            | errors.PublishTimeoutError()
            | errors.PublishError()
        ):
            return UnavailableError("Temporal does not answer now.", cause_for_log=cause)
        case _:
            return InternalError(cause_for_log=cause)


def _refusal_of_life(error: errors.WorkflowStreamError) -> RefusedError | None:
    """Return the answer if the error is about the life of a stream: made, opened, forked, gone.

    The words of such an error may be shown to anybody.
    """
    match error:
        case errors.StreamGoneError(has_forks=True):
            return GoneError("The stream has been deleted; only forks of it are left.")
        case errors.StreamGoneError():
            return NoStreamError()
        case errors.StreamExistsError():
            return ConflictError(error.why)
        case errors.StreamNotHostedError():
            return NotOfferedError("This stream belongs to a workflow, and ends with it.")
        case errors.StreamNotOpenedError():
            return NotOpenedError()
        case errors.StreamUnfinishedError():
            return UnfinishedError()
        case errors.StreamNotReadyError():
            return UnavailableError("The stream's history is not there yet.")
        case errors.ForkOffsetError():
            return InvalidRequestError(error.why)
        case errors.BatchTooLargeError() | errors.ForkTooLargeError():
            return TooLargeError(error.why)
        case errors.ForkError():
            return ConflictError(error.why)
        case _:
            return None


def answer(refusal: RefusedError, request: Request) -> Response:
    """Return the problem document of a refusal."""
    note_refusal(request.scope, refusal)
    if (events := refusal_events(refusal, request.scope)) is not None:
        return Response(events, headers=dict(EVENT_HEADERS))
    head = request.method == "HEAD"
    response = Response(
        b"" if head else problem_body(refusal, request_id_of(request.scope)),
        status_code=refusal.status,
        headers={"content-type": "application/problem+json", "cache-control": "no-store"},
    )
    for name, value in refusal.headers:
        response.headers[name] = value
    return response


async def on_error(request: Request, error: Exception) -> Response:
    """Answer a request that failed with one of this package's errors."""
    assert isinstance(error, errors.WorkflowStreamError)
    if isinstance(error, BodyTooLargeError | BodyTimeoutError | NoRoomForBodyError):
        raise error  # LimitMiddleware answers this after it has dealt with the rest of the body
    refusal = refusal_of(error)
    if refusal.cause_for_log:
        level = logging.ERROR if isinstance(refusal, InternalError) else logging.INFO
        extra = {"request_id": request_id_of(request.scope)}
        cause = refusal.cause_for_log
        logger.log(level, "%s %s: %s", request.method, refusal.slug, cause, extra=extra)
    return answer(refusal, request)
