"""What a browser is told to do with answers, and which pages may use the gateway."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_streams.errors import UsageError
from workflow_streams.gateway.layers.cors import CorsMiddleware, normal_origin
from workflow_streams.gateway.layers.headers import DATA_POLICY, page_policy
from workflow_streams.gateway.security import SecuritySettings

from .layered import Layered
from .wire import Answer, exchange, get, serving

APP = "https://app.example.com"


async def ask_all(raws: list[bytes], **security: Any) -> list[Answer]:
    async with serving(Layered(security=SecuritySettings(**security)).app) as port:
        return [await exchange(port, raw) for raw in raws]


async def ask(raw: bytes, **security: Any) -> Answer:
    [answer] = await ask_all([raw], **security)
    return answer


@pytest.mark.parametrize("path", ["/items/a", "/html", "/nothing", "/fault", "/healthz"])
async def test_data_cannot_become_a_page_of_the_gateways_origin(path: str) -> None:
    raws = [get(path), get(path, method="HEAD"), get(path, method="PATCH")]
    for answer in await ask_all(raws):
        assert answer.header("content-security-policy") == DATA_POLICY
        assert answer.header("x-content-type-options") == "nosniff"
        assert answer.header("referrer-policy") == "no-referrer"
        assert answer.header("cross-origin-resource-policy") == "same-origin"
    assert "sandbox" in DATA_POLICY
    assert "default-src 'none'" in DATA_POLICY


@pytest.mark.processes
async def test_the_gateways_own_pages_run_their_own_files_alone() -> None:
    answer = await ask(get("/pages/"))
    policy = dict(
        part.strip().partition(" ")[::2]
        for part in (answer.header("content-security-policy") or "").split(";")
    )
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "worker-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "connect-src": "'self'",
        "manifest-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "shared-worker",
    }
    assert answer.header("cross-origin-opener-policy") == "same-origin"
    assert answer.header("x-content-type-options") == "nosniff"
    framed = await ask(get("/pages/"), frame_ancestors=(APP, "https://b.example"))
    assert framed.header("content-security-policy") == page_policy([APP, "https://b.example"])
    assert f"frame-ancestors {APP} https://b.example;" in page_policy([APP, "https://b.example"])


# Which pages may read


async def test_a_listed_origin_is_named_in_the_answer() -> None:
    answer = await ask(get("/items/a", f"origin: {APP}"), cors_origins=(APP,))
    assert answer.status == 200
    assert answer.header("access-control-allow-origin") == APP
    assert "Stream-Next-Offset" in (answer.header("access-control-expose-headers") or "")
    assert answer.header("access-control-allow-credentials") is None
    assert answer.header("vary") == "Origin"


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", f"{APP}.evil.example", "https://xapp.example.com", f"{APP}:444",
     "http://app.example.com", "null", f"{APP}/", f"{APP} https://b", "", "*"],
)  # fmt: skip
async def test_another_origin_gets_nothing_that_its_page_could_read(origin: str) -> None:
    raws = [
        get("/items/a", f"origin: {origin}"),
        get(
            "/items/a", f"origin: {origin}", "access-control-request-method: PUT", method="OPTIONS"
        ),
        get("/nothing", f"origin: {origin}"),
    ]
    for answer in await ask_all(raws, cors_origins=(APP,)):
        assert answer.header("access-control-allow-origin") is None
        assert answer.header("access-control-allow-credentials") is None
        assert answer.header("vary") is not None


async def test_errors_can_be_read_by_listed_pages_too() -> None:
    paths = ["/nothing", "/fault", "/items/" + "x" * 9000]
    answers = await ask_all([get(p, f"origin: {APP}") for p in paths], cors_origins=(APP,))
    assert [answer.status for answer in answers] == [404, 500, 414]
    assert {answer.header("access-control-allow-origin") for answer in answers} == {APP}


async def test_all_origins_are_a_star_and_never_get_cookies() -> None:
    answer = await ask(get("/items/a", "origin: https://any.example"), cors_origins=("*",))
    assert answer.header("access-control-allow-origin") == "*"
    assert answer.header("access-control-allow-credentials") is None
    with pytest.raises(UsageError):
        SecuritySettings(cors_origins=("*",), cors_credentials=True)


async def test_cookies_are_for_listed_origins_if_told_so() -> None:
    settings: dict[str, Any] = {"cors_origins": (APP,), "cors_credentials": True}
    answer = await ask(get("/items/a", f"origin: {APP}"), **settings)
    assert answer.header("access-control-allow-credentials") == "true"
    answer = await ask(get("/items/a", "origin: https://evil.example"), **settings)
    assert answer.header("access-control-allow-credentials") is None


async def test_a_preflight_tells_methods_and_headers() -> None:
    asking = ("access-control-request-method: PUT", "access-control-request-headers: producer-id")
    answer = await ask(
        get("/items/a", f"origin: {APP}", *asking, method="OPTIONS"), cors_origins=(APP,)
    )
    assert answer.status == 204
    assert answer.body == b""
    assert answer.header("access-control-allow-origin") == APP
    assert {"GET", "HEAD", "POST", "PUT", "DELETE"} <= set(
        (answer.header("access-control-allow-methods") or "").split(", ")
    )
    allowed = set((answer.header("access-control-allow-headers") or "").lower().split(", "))
    assert allowed >= {"authorization", "content-type", "if-none-match", "last-event-id"}
    assert allowed >= {"producer-epoch", "producer-id", "producer-seq", "stream-closed"}
    assert answer.header("access-control-max-age") == "600"


# Which pages may write


@pytest.mark.parametrize(
    "headers",
    [
        ["origin: https://evil.example"],
        ["origin: null"],
        ["origin: http://127.0.0.1.evil.example"],
        ["origin: http://127.0.0.1:81"],
        ["origin: http://user@127.0.0.1"],
        ["origin: file://"],
        ["origin:"],
        ["sec-fetch-site: cross-site"],
    ],
)
async def test_a_foreign_page_cannot_change_anything(headers: list[str]) -> None:
    layered = Layered()
    # A type of body that browsers send to any server without asking it first.
    lines = [*headers, "content-type: text/plain"]
    async with serving(layered.app) as port:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            answer = await exchange(port, get("/items/a", *lines, method=method, body=b"x"))
            assert answer.status == 403
            assert answer.problem()["type"] == "urn:workflow-streams:cross-origin"
    assert layered.bodies == []


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["origin: http://127.0.0.1"],
        ["origin: http://127.0.0.1:80"],
        ["origin: https://127.0.0.1"],  # TLS ends at a proxy
        ["origin: HTTP://127.0.0.1", "sec-fetch-site: same-origin"],
        ["sec-fetch-site: none"],
        [f"origin: {APP}"],
        ["origin: https://APP.example.com:443"],
    ],
)
async def test_own_and_listed_pages_and_programs_can(headers: list[str]) -> None:
    raw = get("/items/a", *headers, method="POST", body=b"x")
    assert (await ask(raw, cors_origins=(APP,))).status == 200


@pytest.mark.parametrize(
    ("origin", "normal"),
    [
        ("https://App.Example.com", APP),
        ("https://app.example.com:443", APP),
        ("http://app.example.com:80", "http://app.example.com"),
        ("http://app.example.com:443", "http://app.example.com:443"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_origin_has_one_spelling(origin: str, normal: str) -> None:
    assert normal_origin(origin, strict=True) == normal


@pytest.mark.parametrize(
    "origin",
    ["", "app.example.com", "https://", f"{APP}/", f"{APP}/path", f"{APP}?", f"{APP}#x", "null",
     "https://a b", "https://user@app.example.com", "ftp://a", "https://a:b", "https://a:99999",
     "https://[::1", "https://*.example.com/", "https://a\\b"],
)  # fmt: skip
def test_what_is_no_origin_is_refused_at_the_start(origin: str) -> None:
    with pytest.raises(UsageError, match="not an origin"):
        CorsMiddleware(Layered().app, origins=[origin])


@given(st.text(max_size=30) | st.text("htps:/.[]@0:1a*\\", max_size=20))
def test_whatever_the_origin_its_spelling_is_stable(text: str) -> None:
    normal = normal_origin(text)
    assert normal_origin(normal) == normal
    assert (normal == APP) == (text.lower() in (APP, f"{APP}:443"))
