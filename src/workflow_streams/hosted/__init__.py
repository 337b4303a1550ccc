"""Streams that have no workflow of the user's: their own workflow, its worker, and how they end."""

from .host import host_worker, run_host_worker

__all__ = ["host_worker", "run_host_worker"]
