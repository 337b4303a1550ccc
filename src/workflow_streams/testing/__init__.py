"""For tests of code that uses streams: with a real server, or activities without a server.

Fixtures are used by importing them into ``conftest.py``::

    from workflow_streams.testing import stream_client, stream_server
"""

from .capture import CapturedItems, capture_published
from .fixtures import stream_client, stream_server

__all__ = ["CapturedItems", "capture_published", "stream_client", "stream_server"]
