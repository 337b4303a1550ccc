"""Errors as answers: each with its status, and with words that anybody may read.

A check of your own may raise :class:`AuthenticationRequiredError` or :class:`ForbiddenError`. The
trees of all errors are drawn in :mod:`.refused` and :mod:`.problems`.
"""

from .refused import (
    AmbiguousCredentialsError,
    AuthenticationRequiredError,
    BodyTimeoutError,
    BodyTooLargeError,
    CrossOriginError,
    ExpiredCredentialsError,
    ForbiddenError,
    Headers,
    HeadersTooLargeError,
    InvalidCredentialsError,
    InvalidWorkflowIdError,
    LocalOnlyError,
    NoRoomForBodyError,
    NoRoomForWriteError,
    NoTurnError,
    OverloadedError,
    RefusedError,
    TooManyConnectionsError,
    TooManyRequestsError,
    UrlTooLongError,
)

__all__ = [
    "AmbiguousCredentialsError",
    "AuthenticationRequiredError",
    "BodyTimeoutError",
    "BodyTooLargeError",
    "CrossOriginError",
    "ExpiredCredentialsError",
    "ForbiddenError",
    "Headers",
    "HeadersTooLargeError",
    "InvalidCredentialsError",
    "InvalidWorkflowIdError",
    "LocalOnlyError",
    "NoRoomForBodyError",
    "NoRoomForWriteError",
    "NoTurnError",
    "OverloadedError",
    "RefusedError",
    "TooManyConnectionsError",
    "TooManyRequestsError",
    "UrlTooLongError",
]
