"""Signed URLs: short-lived permission to read one stream, for ``EventSource`` and links.

A signed URL carries one more query parameter, ``access``: a token (HMAC-SHA256, see
:mod:`.tokens`) over the workflow id, the topics, the expiry and the subject. The rest of the query
(offset, cursor, live) is not signed: it is the reader's place, which changes as it reads on. So the
signature stays valid under any mount point, proxy prefix and spelling of the same id. It is not
valid for another id, for further topics, or for anything but reading.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlencode

import jwt

from ...requests.paths import path_of
from ..patterns import exactly
from ..secrets import Secret
from .keys import shared_secret
from .tokens import SIGNED_URL_TYPE, Claims, TokenVerifier

ACCESS_PARAMETER = "access"
"""The query parameter. Logs mask its value."""

_AUDIENCE = "workflow-streams-gateway"
_CLAIM = "streams"
_MAX_BYTES = 8192


def sign_url(
    workflow_id: str,
    *,
    key: Secret,
    expires_at: float,
    topics: Iterable[str] | None = None,
    subject: str = "",
    base: str = "",
    query: Iterable[tuple[str, str]] = (),
) -> str:
    """Return a URL that lets its bearer read one stream until ``expires_at``.

    Args:
        workflow_id: The stream.
        key: The first of ``url_signing_keys``.
        expires_at: Unix time in seconds. A connection that is live at that time ends.
        topics: The only topics that may be read; None for all.
        subject: To whom the permission belongs, for the logs and the limits.
        base: What comes before ``/v1/stream/...``: a mount point, or scheme, host and mount point.
        query: Further parameters, such as ``("live", "sse")``; the reader may change them.
    """
    rule: dict[str, object] = {"ids": [exactly(workflow_id).text], "actions": ["read"]}
    if topics is not None:
        rule["topics"] = sorted(topics)
    payload: dict[str, object] = {"aud": _AUDIENCE, "exp": int(expires_at), _CLAIM: [rule]}
    if subject:
        payload["sub"] = subject
    token = jwt.encode(payload, key.reveal(), "HS256", headers={"typ": SIGNED_URL_TYPE})
    parameters = urlencode([*query, (ACCESS_PARAMETER, token)])
    return f"{base}{path_of(workflow_id)}?{parameters}"


class UrlVerifier:
    """Verifies the ``access`` parameter of signed URLs."""

    def __init__(self, keys: tuple[Secret, ...]) -> None:
        """Set all keys with which URLs may have been signed.

        Raises:
            UsageError: One of them is a public key.
        """
        self._tokens = TokenVerifier(
            tuple(shared_secret(key) for key in keys),
            claim=_CLAIM,
            audience=_AUDIENCE,
            max_bytes=_MAX_BYTES,
            token_type=SIGNED_URL_TYPE,
        )

    def verify(self, access: str) -> Claims:
        """Return what the URL allows.

        Raises:
            ExpiredCredentialsError: The URL has expired.
            InvalidCredentialsError: It was not signed with one of the keys, or was changed since.
        """
        return self._tokens.verify(access)
