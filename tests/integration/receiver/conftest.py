"""Receivers, and small studies to send to them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from receiver_node import Make, Receiver

from certificate_maker import make_certificates
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


@pytest.fixture(scope="module")
def used() -> Iterator[dict[str, Receiver]]:
    """Receivers that ``share`` started for a module, by their settings."""
    found: dict[str, Receiver] = {}
    yield found
    for receiver in found.values():
        receiver.close()


@pytest.fixture
def share(used: dict[str, Receiver], tmp_path_factory: pytest.TempPathFactory) -> Make:
    """As ``make``; but one that the tests before had with these settings is emptied and used again, where that can be."""

    def empty(settings: str = "", *, head: str = "") -> Receiver:
        key = head + settings
        if key in used and not used[key].emptied():
            used.pop(key).close()
        if key not in used:
            used[key] = Receiver(tmp_path_factory.mktemp("receiver") / "node", settings, head=head).start()
        return used[key]

    return empty


@pytest.fixture
def receiver(share: Make) -> Receiver:
    return share()


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


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a server and a client that it signed, and a stranger."""
    folder = tmp_path_factory.mktemp("certificates")
    return make_certificates(folder).folder
