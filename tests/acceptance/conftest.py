"""One browser for the tests of a module."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

pytest.register_assert_rewrite("looks")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from looks import chromium

    with chromium() as opened:
        yield opened
