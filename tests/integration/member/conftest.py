"""One hub for all tests of members, and sites that have a store and a certificate."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "hub"))  # the hub's own tests start it too

from hub_fleet import Running
from member_site import Site, fast_hub


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with fast_hub(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, hub: Running) -> Iterator[Site]:
    made = Site(tmp_path / "site", hub.invite(tmp_path.name).written())
    yield made
    made.close()
