"""Headers are parsed once, however many ask for them at the same time."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydicom import dcmread

from pneumoscope.children import Children
from pneumoscope.phantom import PhantomSpec, render, write_dicom
from pneumoscope.server.headers import Headers
from pneumoscope.store import FolderStore


class Counting(Children):
    """The real ones, and how many files they were given."""

    files = 0

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        self.files += len(args[0])
        return super().call(function, *args, **kwargs)


def test_who_asks_while_headers_are_parsed_waits_for_them(tmp_path: Path) -> None:
    write_dicom(
        render(PhantomSpec(slices=60, slice_spacing_mm=5.0, slice_thickness_mm=1.0, size_px=64, pixel_spacing_mm=5.8)),
        tmp_path / "study",
    )
    rows = []
    for path in sorted((tmp_path / "study").iterdir()):
        header = dcmread(path, stop_before_pixels=True)
        uids = {name: str(header[name].value) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")}
        rows.append({**uids, "key": f"study/{path.name}", "sha256": sha256(path.read_bytes()).hexdigest()})
    headers, children = Headers(), Counting()
    try:
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(headers.of, rows, files=FolderStore(tmp_path), children=children) for _ in range(4)]
        first, *others = (one.result() for one in asked)
    finally:
        children.close()
    assert [len(found.frames) for found in first] == [1] * 60
    assert all(found == first for found in others)
    assert children.files == 60
