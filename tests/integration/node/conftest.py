"""A phantom study as a scanner would have it, and nodes with a PACS behind them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread

from certificate_maker import make_certificates
from collector import Collector, collector
from pneumoscope.output import write_all
from pneumoscope.phantom import SAMPLE, Order, dicom_parcels, render
from servers import Node, Orthanc, free_port, orthanc, postgres, renamed


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chest of few, coarse slices: quick to read."""
    folder = tmp_path_factory.mktemp("phantom") / "study"
    spec = replace(SAMPLE, slices=40, slice_spacing_mm=8.0, slice_thickness_mm=2.0, size_px=256, pixel_spacing_mm=1.5)
    write_all(dicom_parcels(render(spec), order=Order.HEAD_FIRST), folder)
    return folder


@pytest.fixture(scope="session")
def study_uid(study: Path) -> str:
    return str(dcmread(next(study.iterdir()), stop_before_pixels=True).StudyInstanceUID)


Site = Callable[..., tuple[Node, Orthanc]]


@contextmanager
def sites(folder: Path) -> Iterator[Site]:
    """Makes nodes that deliver to an Orthanc of their own, and ends them."""
    with ExitStack() as stack:

        def make(
            settings: str = "", *, on_postgres: bool = False, workers: int = 1, environment: dict[str, str] | None = None
        ) -> tuple[Node, Orthanc]:
            port = free_port()  # where Orthanc answers
            pacs = stack.enter_context(orthanc(folder / "pacs", modalities={"PNEUMOSCOPE": ("127.0.0.1", port)}))
            destination = (
                '\n[[destinations]]\nkind = "dicom"\nname = "pacs"\nae_title = "ORTHANC"\n'
                f'host = "127.0.0.1"\nport = {pacs.dicom_port}\n'
            )
            url = ""
            if on_postgres:
                make.postgres = stack.enter_context(postgres())
                url = make.postgres.url
            more = settings.replace("{pacs_port}", str(pacs.dicom_port)).replace("{pacs_url}", pacs.url)
            running = Node(folder / "node", destination + more, database_url=url, workers=workers, environment=environment)
            running.dicom_port = port
            stack.callback(running.kill_all_if_running)
            running.start()
            return running, pacs

        yield make


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """For tests that kill something, or need settings of their own."""
    with sites(tmp_path) as make:
        yield make


@pytest.fixture(scope="module")
def traces() -> Iterator[Collector]:
    """What the nodes of a module tell of their readings."""
    with collector() as running:
        yield running


@pytest.fixture(scope="module")
def running_site(tmp_path_factory: pytest.TempPathFactory, traces: Collector) -> Iterator[tuple[Node, Orthanc]]:
    """One for all tests of a module, each of which has a study of its own."""
    with sites(tmp_path_factory.mktemp("site")) as make:
        yield make(f'\n[arrival]\nquiet_s = 2\n[tracing]\nurl = "{traces.url}"\n')


@pytest.fixture
def own_study(study: Path, tmp_path: Path) -> tuple[Path, str]:
    """The same images under UIDs that no other test has."""
    folder = tmp_path / "own"
    return folder, renamed(study, folder)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a server and a client that it signed, and a stranger."""
    return make_certificates(tmp_path_factory.mktemp("certificates")).folder
