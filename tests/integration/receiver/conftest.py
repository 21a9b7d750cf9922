"""Receivers, and small studies to send to them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from receiver_node import Make, Receiver

from dicom_maker import make_series
from servers import postgres


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Receiver] = []

    def start(settings: str = "", **options: str) -> Receiver:
        made.append(Receiver(tmp_path / f"node-{len(made)}", settings, **options))
        return made[-1].start()

    yield start
    for receiver in made:
        receiver.close()


@pytest.fixture
def receiver(make: Make) -> Receiver:
    return make()


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 slices of 128 x 128."""
    folder = tmp_path_factory.mktemp("study")
    make_series(folder)
    return folder


@pytest.fixture(scope="session")
def study_uids(study: Path) -> list[str]:
    from pydicom import dcmread

    return sorted(str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in study.iterdir())


@pytest.fixture
def postgres_url(tmp_path: Path) -> Iterator[str]:
    with postgres() as server:
        yield server.url
