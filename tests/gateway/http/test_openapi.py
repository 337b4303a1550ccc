"""The description says what the gateway does."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.routing import Route
from temporalio.client import Client

from workflow_streams.gateway import create_app
from workflow_streams.gateway.openapi.description import description
from workflow_streams.gateway.viewer import ViewerPage

from .serving import GatewayProcess

CHECKS = [
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
]
OPERATIONS = [
    (path, method)
    for path, item in description()["paths"].items()
    for method in item
    if method != "parameters"
]


async def test_it_describes_the_routes_that_there_are(client: Client) -> None:
    app = create_app(client)
    page = {route.path for route in ViewerPage().routes()}
    served = {
        (route.path.replace("{path:path}", "{workflow_id}"), method.lower())
        for route in app.routes
        if isinstance(route, Route) and route.path not in page
        for method in route.methods or ()
        # Starlette answers HEAD wherever there is GET.
        if method != "HEAD" or route.path.startswith("/v1/stream/")
    }
    # Which path cancels is for the handler to say.
    assert served == set(OPERATIONS) - {("/v1/stream/{workflow_id}/cancel", "post")}


async def test_it_is_served_and_is_a_valid_description(
    gateway: GatewayProcess, http: httpx.AsyncClient
) -> None:
    answer = await http.get(f"{gateway.url}/openapi.json")
    assert answer.json() == description()
    schemathesis.openapi.from_dict(answer.json())
    for schema in description()["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)


@pytest.fixture(scope="module")
def schema(gateway: GatewayProcess) -> Any:
    return schemathesis.openapi.from_url(f"{gateway.url}/openapi.json")


@pytest.fixture(scope="module")
def over(gateway: GatewayProcess) -> str:
    """A stream that is closed, so that whoever follows it soon comes to the end."""
    name = f"described-{uuid.uuid4().hex[:8]}"
    headers = {"stream-closed": "true", "content-type": "application/json"}
    made = httpx.put(gateway.stream(name), headers=headers, content=b"[1, 2]")
    assert made.status_code == 201
    return name


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_whatever_is_asked_the_answer_is_one_that_is_described(
    schema: Any, over: str, path: str, method: str, mode: GenerationMode
) -> None:
    """Requests made up from the description, and made wrong in the ways that it rules out."""
    operation = schema[path][method]
    known: dict[str, Any] = (
        {"path_parameters": {"workflow_id": over}} if "{workflow_id}" in path else {}
    )
    if path == "/v1/streams/events":
        known = {"query": {"id": [over]}}
    strategy = operation.as_strategy(mode, **known)

    @settings(
        max_examples=10,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def ask(case: Any) -> None:
        case.call_and_validate(checks=CHECKS, timeout=100)

    try:
        ask()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, "there is always a right way to ask"
