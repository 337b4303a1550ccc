"""Decides what a request may do: by its credentials, and by the user's own check."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Collection
from dataclasses import replace
from urllib.parse import parse_qsl

from starlette.requests import HTTPConnection

from ..layers.rates import count_for_subject
from ..refusals import (
    AmbiguousCredentialsError,
    AuthenticationRequiredError,
    ForbiddenError,
    RefusedError,
)
from .claims import EVERYTHING, WHOLE_STREAM, Action, decide, is_limited
from .credentials.signed_urls import ACCESS_PARAMETER, UrlVerifier, sign_url
from .credentials.tokens import Claims, TokenVerifier, bearer_token
from .grants import Access, Credential, Grant
from .local import check_local
from .pages import PageTokens
from .patterns import check_workflow_id
from .secrets import Secret
from .settings import MIN_SECRET_BYTES, SecuritySettings

logger = logging.getLogger("workflow_streams.gateway")


class Authority:
    """Decides who may do what, by one set of settings.

    Attributes:
        settings: These settings.
        pages: Makes and reads the tokens of a listing's pages.
    """

    def __init__(self, settings: SecuritySettings) -> None:
        """Load the keys.

        Raises:
            UsageError: A key cannot be read or used.
        """
        self.settings = settings
        keys = settings.url_signing_keys or (Secret(secrets.token_bytes(MIN_SECRET_BYTES)),)
        self._signing_key = keys[0]
        self._urls = UrlVerifier(keys)
        self.pages = PageTokens.from_settings(settings)
        self._tokens = TokenVerifier.from_settings(settings) if settings.has_token_keys else None

    async def authorize(
        self,
        request: HTTPConnection,
        action: Action,
        workflow_id: str = "",
        topics: Collection[str] = (),
    ) -> Grant:
        """Return what the request may do, or refuse it. Call this before anything is looked up.

        Args:
            request: The request.
            action: What it wants to do.
            workflow_id: The workflow that it is about, decoded; empty for ``list`` and
                ``metrics``.
            topics: The topics that it is about. If there are none, a read is about all topics that
                are allowed, and a write about the stream as a whole.

        Raises:
            RefusedError: 400, 401, 403, or 429 for a subject that asks too often; see
                :mod:`workflow_streams.gateway.refusals`.
        """
        state = request.scope.setdefault("state", {})
        try:
            grant = await self._authorize(request, action, workflow_id, frozenset(topics))
        except RefusedError as refusal:
            if refusal.cause_for_log:
                extra = {"request_id": state.get("request_id", "")}
                logger.info("Refused, %s: %s", refusal.slug, refusal.cause_for_log, extra=extra)
            raise
        state["subject"] = grant.subject
        count_for_subject(request.scope, grant.client)
        return grant

    async def _authorize(
        self, request: HTTPConnection, action: Action, workflow_id: str, topics: frozenset[str]
    ) -> Grant:
        if action not in ("list", "metrics"):
            check_workflow_id(workflow_id)
        grant = self._by_credentials(request, action, workflow_id, topics)
        check = self.settings.check
        if check is not None:
            checked = await check(Access(request, action, workflow_id, topics, grant))
            if checked is None:
                raise ForbiddenError(cause_for_log="the check said no")
            grant = checked
        if action == "write":
            _check_topics(grant, topics)
        # This comes last, since a check may return a grant of its own making.
        return replace(grant, varies_on=self._varies_on(grant))

    def _varies_on(self, grant: Grant) -> tuple[str, ...]:
        """Return the header fields on which the answer depends; none if it is the same for all."""
        fields = ("Authorization",) if self._tokens or grant.credential != "anonymous" else ()
        if self.settings.check is None:
            return fields
        return ("Authorization", *self.settings.check_headers)

    def _by_credentials(
        self, request: HTTPConnection, action: Action, workflow_id: str, topics: frozenset[str]
    ) -> Grant:
        access = _access_parameter(request)
        if access is not None:
            if any(name == b"authorization" for name, _ in request.scope["headers"]):
                raise AmbiguousCredentialsError("Send a bearer token or a signed URL, not both.")
            claims = self._urls.verify(access)
            if action != "read":
                raise ForbiddenError("A signed URL allows reading only.")
            return _grant(claims, "signed-url", action, workflow_id, topics)
        if self._tokens is not None:
            token = bearer_token(request.scope["headers"])
            if token is None:
                raise AuthenticationRequiredError
            return _grant(self._tokens.verify(token), "token", action, workflow_id, topics)
        if not self.settings.requires_login and not self.settings.allow_anonymous:
            check_local(request, self.settings)
        allowed = decide(EVERYTHING, action, workflow_id, topics)
        return Grant(topics=allowed, expires_at=None, rules=EVERYTHING, limited=False)

    def sign(
        self,
        grant: Grant,
        workflow_id: str,
        *,
        seconds: float | None = None,
        base: str = "",
        query: Collection[tuple[str, str]] = (),
    ) -> tuple[str, float]:
        """Return a URL that lets its bearer read what ``grant`` allows, and when it expires.

        Args:
            grant: Permission to ``read`` this workflow. The URL expires with it, at the latest.
            workflow_id: The stream.
            seconds: How long the URL is valid, up to ``max_signed_url_seconds``; None for
                ``signed_url_seconds``.
            base: See :func:`sign_url`.
            query: See :func:`sign_url`.

        Raises:
            ForbiddenError: The grant itself comes from a signed URL.
        """
        settings = self.settings
        if grant.credential == "signed-url":
            raise ForbiddenError("A signed URL cannot be used to sign another.")
        lifetime = settings.signed_url_seconds if seconds is None else seconds
        ends = time.time() + min(lifetime, settings.max_signed_url_seconds)
        expires_at = int(ends if grant.expires_at is None else min(ends, grant.expires_at))
        url = sign_url(
            workflow_id,
            key=self._signing_key,
            expires_at=expires_at,
            topics=grant.topics,
            subject=grant.subject,
            base=base,
            query=query,
        )
        return url, expires_at


async def authorize(
    request: HTTPConnection,
    action: Action,
    workflow_id: str = "",
    topics: Collection[str] = (),
) -> Grant:
    """Ask the authority of the request's application; see :meth:`Authority.authorize`."""
    authority: Authority = request.app.state.authority
    return await authority.authorize(request, action, workflow_id, topics)


def _access_parameter(request: HTTPConnection) -> str | None:
    query = request.scope["query_string"].decode("latin-1")
    values = [value for name, value in parse_qsl(query, keep_blank_values=True)
              if name == ACCESS_PARAMETER]  # fmt: skip
    if len(values) > 1:
        raise AmbiguousCredentialsError(f"There is more than one parameter {ACCESS_PARAMETER!r}.")
    return values[0] if values else None


def _check_topics(grant: Grant, topics: frozenset[str]) -> None:
    """Refuse a write that goes beyond the topics that the grant allows.

    Raises:
        ForbiddenError: The write is about other topics, or about the stream as a whole.
    """
    if grant.topics is None:
        return
    if not topics:
        raise ForbiddenError(WHOLE_STREAM)
    if not grant.topics.issuperset(topics):
        raise ForbiddenError


def _grant(
    claims: Claims, credential: Credential, action: Action, workflow_id: str, topics: frozenset[str]
) -> Grant:
    return Grant(
        topics=decide(claims.rules, action, workflow_id, topics),
        limited=is_limited(claims.rules, action, workflow_id),
        expires_at=claims.expires_at,
        subject=claims.subject,
        credential=credential,
        rules=claims.rules,
    )
