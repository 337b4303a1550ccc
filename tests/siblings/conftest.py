"""The sibling, installed: its client, its worker, and the hosts that tests go through."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.client import Client

from workflow_streams.testing.fixtures import StreamServer

from .hosts import Hosting, ours, theirs
from .processes import Sibling, working

SCRIPTS = Path(__file__).parent / "node"


@pytest.fixture(scope="session")
def scripts() -> Iterator[Path]:
    """The sibling's scripts, in a folder below the packages that they import, as Node wants it."""
    try:
        from tests.npm import SIBLINGS, install, node

        folder = install(SIBLINGS)
    except (ImportError, RuntimeError) as err:
        pytest.skip(f"the sibling cannot be installed: {err}")
    # Its native part exists for some platforms only.
    probe = [node(), "-e", "require('@temporalio/core-bridge')"]
    done = subprocess.run(probe, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"the sibling does not run here: {done.stderr}")
    with tempfile.TemporaryDirectory(dir=folder) as own:
        shutil.copytree(SCRIPTS, own, dirs_exist_ok=True)
        yield Path(own)


@pytest.fixture
def sibling(scripts: Path, stream_server: StreamServer) -> Sibling:
    """The sibling's client."""
    return Sibling(scripts, stream_server.address)


@pytest.fixture(scope="session")
def sibling_queue(scripts: Path, stream_server: StreamServer) -> Iterator[str]:
    """A task queue that the sibling's worker works on."""
    queue = f"siblings-{uuid.uuid4().hex[:8]}"
    with working(scripts, stream_server.address, queue):
        yield queue


@pytest.fixture
def their_hosts(client: Client, sibling_queue: str) -> Hosting:
    """Starts workflows that host their stream with the sibling."""
    return theirs(client, sibling_queue)


@pytest.fixture
def our_hosts(client: Client) -> Hosting:
    """Starts workflows that host their stream with this package."""
    return ours(client)


@pytest.fixture(params=["their_hosts", "our_hosts"])
def hosts(request: pytest.FixtureRequest) -> Hosting:
    """First the sibling's, then ours: what the test says is true of both."""
    hosting: Hosting = request.getfixturevalue(request.param)
    return hosting
