"""The server that the gateway's command starts."""

from __future__ import annotations

from workflow_streams.gateway import GatewaySettings, create_app
from workflow_streams.gateway.server import server_of

# httpx drops an idle connection after 5 s, load balancers after 60 s as a rule.
LONGEST_OF_CLIENTS = 60


async def no_connection() -> None:
    raise ConnectionError("there is no Temporal here")


def test_an_idle_connection_is_kept_longer_than_clients_and_proxies_keep_it() -> None:
    server = server_of(create_app(no_connection, GatewaySettings()))  # type: ignore[arg-type]
    assert server.config.timeout_keep_alive > LONGEST_OF_CLIENTS


def test_whoever_starts_it_may_say_otherwise() -> None:
    app = create_app(no_connection, GatewaySettings())  # type: ignore[arg-type]
    assert server_of(app, timeout_keep_alive=1).config.timeout_keep_alive == 1
