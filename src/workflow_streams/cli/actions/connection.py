"""Connects a command to Temporal, by the environment that its options have set."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from temporalio.client import Client
from temporalio.converter import DataConverter

from ... import connect
from ...temporal.connection import DEFAULT_ADDRESS
from ..exits import Exit
from ..session import ActionError
from .codec_server import CodecServer


async def open_client() -> Client:
    """Connect to the server that options and environment name.

    Raises:
        ActionError: The configuration is not usable.
        ConnectionFailedError: The server does not answer, or refuses this client.
    """
    settings: dict[str, Any] = {}
    endpoint, codec = os.environ.get("TEMPORAL_CODEC_ENDPOINT"), None
    if endpoint:
        codec = CodecServer(endpoint, authorization=os.environ.get("TEMPORAL_CODEC_AUTH"))
        settings["data_converter"] = dataclasses.replace(DataConverter.default, payload_codec=codec)
    try:
        client = await connect(**settings)
    except (RuntimeError, ValueError, OSError) as err:
        # Errors in the configuration file or certificates, for which the SDK has no own class.
        address = os.environ.get("TEMPORAL_ADDRESS", DEFAULT_ADDRESS)
        raise ActionError(f"Cannot connect to {address}: {err}", Exit.NO_CONNECTION) from err
    if codec is not None:
        codec.namespace = client.namespace
    return client
