"""Acknowledgements."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumoscope.delivery.mllp import Ack, parse_ack
from pneumoscope.errors import RetryLater


@pytest.mark.parametrize(
    ("text", "ack"),
    [
        ("MSH|^~\\&|a|b\rMSA|AA|1\r", Ack("AA", "1", "")),
        ("MSH|^~\\&|a|b\nMSA|aa|1|text\n", Ack("AA", "1", "")),
        ("MSH#*~\\&#a#b\rMSA#AE#1\rERR###101*x\r", Ack("AE", "1", "101")),
        ("MSH|^~\\&|a|b\rMSA|AR|1\rERR|||207|E\rERR|||101|E\r", Ack("AR", "1", "207")),
        ("MSH|^~\\&|a|b\r", Ack("", "", "")),
    ],
)
def test_fields(text: str, ack: Ack) -> None:
    assert parse_ack(text.encode()) == ack


@given(st.binary())
def test_anything_else_is_odd(answer: bytes) -> None:
    try:
        parse_ack(answer)
    except RetryLater as fault:
        assert fault.code == "peer-answer-odd"
