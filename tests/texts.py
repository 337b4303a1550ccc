"""Payloads as the texts that messages in JSON have for them."""

from __future__ import annotations

import json

from temporalio.api.common.v1 import Payload

from workflow_streams.log.payloads import item_in, item_of, payload_of, text_of


def encode_payload(payload: Payload) -> str:
    """Return a payload as text."""
    return text_of(*item_of(payload))


def decode_payload(text: str) -> Payload:
    """Invert :func:`encode_payload`; raise ValueError if it is no payload."""
    return payload_of(*item_in(text))


def entry_json(topic: str, kind: bytes, data: bytes) -> str:
    """Return an entry of a batch as JSON text."""
    return f'{{"topic":{json.dumps(topic)},"data":"{text_of(kind, data)}"}}'
