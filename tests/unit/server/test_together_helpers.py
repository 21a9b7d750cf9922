"""What browsers are told of the servers that help them."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from pneumoscope.config import IceServer, Settings
from pneumoscope.config.faults import sentences
from pneumoscope.server.together.helpers import told

UNTIL = datetime(2026, 3, 1, 12, 0, 0, 600_000, tzinfo=UTC)
TURN = "turn:turn.hospital.example:3478"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"user": "us", "password": "a word"}, {"username": "us", "credential": "a word"}),
        # printf %s 1772366401 | openssl dgst -sha1 -hmac "a secret" -binary | base64
        ({"secret": "a secret"}, {"username": "1772366401", "credential": "xj3d55PqPegbcAKJALRMJYMPURc="}),
    ],
)
def test_browsers_are_told_what_they_need(given: dict[str, str], expected: dict[str, str]) -> None:
    assert told([IceServer(urls=(TURN,), **given)], until=UNTIL) == [{"urls": [TURN], **expected}]


def test_one_way_in_is_enough() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(together={"ice_servers": [{"urls": [TURN], "user": "us", "secret": "hush"}]})
    assert sentences(caught.value, Settings) == [
        "[[together.ice_servers]] no. 1: a secret stands in place of user and password; only one of the two ways is allowed"
    ]
    assert "hush" not in repr(IceServer(urls=(TURN,), secret="hush"))
