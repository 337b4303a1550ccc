"""An item's payload is read as it was written, and its text may be anything at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload

from workflow_streams.log.payloads import decode_payload, encode_payload

from .messages import payloads


@given(payloads)
def test_an_items_payload_comes_back_as_it_was(payload: Payload) -> None:
    assert decode_payload(encode_payload(payload)) == payload


@given(st.text() | st.text("Cg8KCGVuY29kaW5nEgNhYmM=", max_size=30))
def test_any_text_is_a_payload_or_raises_a_value_error(data: str) -> None:
    try:
        payload = decode_payload(data)
    except ValueError:
        return
    assert decode_payload(encode_payload(payload)) == payload


@pytest.mark.parametrize("data", ["not base64", "Cg==", "EgNhYmM=.", "EgNhYmM", "Zürich"])
def test_what_is_no_payload_raises_a_value_error(data: str) -> None:
    with pytest.raises(ValueError, match="not a serialised payload"):
        decode_payload(data)
