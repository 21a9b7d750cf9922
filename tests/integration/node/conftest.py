"""A phantom study as a scanner would have it, and nodes with a PACS behind them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread

from pneumoscope.output import write_all
from pneumoscope.phantom import SAMPLE, Order, dicom_parcels, render
from servers import Node, Orthanc, free_port, orthanc, postgres


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chest of few, coarse slices: quick to read."""
    folder = tmp_path_factory.mktemp("phantom") / "study"
    spec = replace(SAMPLE, slices=40, slice_spacing_mm=8.0, slice_thickness_mm=8.0, size_px=256, pixel_spacing_mm=1.5)
    write_all(dicom_parcels(render(spec), order=Order.HEAD_FIRST), folder)
    return folder


@pytest.fixture(scope="session")
def study_uid(study: Path) -> str:
    return str(dcmread(next(study.iterdir()), stop_before_pixels=True).StudyInstanceUID)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[..., tuple[Node, Orthanc]]]:
    """Makes a node that delivers to an Orthanc of its own."""
    with ExitStack() as stack:

        def make(settings: str = "", *, on_postgres: bool = False, workers: int = 1) -> tuple[Node, Orthanc]:
            commitment_port = free_port()
            pacs = stack.enter_context(orthanc(tmp_path / "pacs", modalities={"PNEUMOSCOPE": ("127.0.0.1", commitment_port)}))
            destination = (
                '\n[[destinations]]\nkind = "dicom"\nname = "pacs"\nae_title = "ORTHANC"\n'
                f'host = "127.0.0.1"\nport = {pacs.dicom_port}\n'
            )
            url = ""
            if on_postgres:
                server = stack.enter_context(postgres(tmp_path / "postgres"))
                url, make.postgres = server.url, server
            running = Node(
                tmp_path / "node",
                destination + settings.replace("{pacs_port}", str(pacs.dicom_port)).replace("{pacs_url}", pacs.url),
                database_url=url,
                workers=workers,
            )
            running.dicom_port = commitment_port  # where Orthanc answers
            stack.callback(running.kill_all_if_running)
            running.start()
            return running, pacs

        yield make
