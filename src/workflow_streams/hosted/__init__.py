"""Streams for which the user writes no workflow: made, closed, forked and deleted by calls.

Their workflow is one of this package, which a worker for hosted streams runs.
"""

from .calls import CreatedStream, close_stream, create_stream, delete_stream
from .worker import host_worker, run_host_worker

__all__ = [
    "CreatedStream",
    "close_stream",
    "create_stream",
    "delete_stream",
    "host_worker",
    "run_host_worker",
]
