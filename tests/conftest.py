"""Makes ``support`` importable: pytest puts the folder of this file on the path."""

import gc
from collections.abc import Iterator
from functools import cache

import httpx
import pytest
from hypothesis import settings

from servers import postgres

# how fast an example is on a machine that others use too says nothing
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# else each client, so each request, reads all authorities that the world trusts: 30 ms, most of what a request here takes
httpx._transports.default.create_ssl_context = cache(httpx.create_ssl_context)
# nor does it say anything that a busy machine's server takes longer than five seconds to answer
for _phase in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, _phase, 60.0)


def pytest_collection_finish() -> None:
    """All that was imported stays: who collects garbage, as pynetdicom does after each association, need not look at it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_postgres() -> Iterator[str]:
    """URL of a PostgreSQL server for all tests that need none of their own; each empties it first."""
    with postgres() as running:
        yield running.url
