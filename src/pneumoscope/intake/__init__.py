"""A path to what can be read there: images with their headers, or a volume."""

import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from pneumoscope.errors import InputNotFound, NothingReadable
from pneumoscope.intake.archive import unpack
from pneumoscope.intake.headers import Header, looks_like_dicom, read_header
from pneumoscope.intake.volumefile import is_volume_file, read_volume_file
from pneumoscope.parallel import Crashed, fork_map
from pneumoscope.records import Instance, Study, Volume

__all__ = ["Input", "open_input"]

#: Below this many files a second process costs more than it saves.
PARALLEL_FROM = 24
#: What a skipped file is called in messages.
FAULT_WORDS = {
    "not-dicom": "not DICOM",
    "no-permission": "may not be opened",
    "damaged-header": "damaged DICOM headers",
    "not-an-image": "DICOM without a SOP class",
    "dicomdir": "DICOMDIR",
}


@dataclass(frozen=True, kw_only=True)
class Input:
    """What was found: images with their studies, or one volume; ``skipped`` counts files passed over, by reason."""

    instances: tuple[Instance, ...] = ()
    studies: Mapping[str, Study] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    volume: Volume | None = None


@contextmanager
def open_input(path: Path, *, progress: Callable[[int, int], None] | None = None) -> Iterator[Input]:
    """Find what can be read at ``path``: a folder, a DICOM file, a DICOMDIR, a zip, or a volume file.

    What a zip holds lies in a temporary folder for as long as the context is open. Raises InputNotFound, UnsafeArchive,
    UnreadableVolume or NothingReadable.
    """
    try:
        if not path.exists():
            raise InputNotFound("Nothing is there: the path does not exist.")
        if path.is_dir():
            yield _from_folder(path, progress)
        elif is_volume_file(path):
            yield Input(volume=read_volume_file(path))
        elif _starts_with(path, b"PK"):
            with tempfile.TemporaryDirectory(prefix="pneumoscope-") as folder:
                unpack(path, to=Path(folder))
                yield _from_folder(Path(folder), progress)
        elif path.name.upper() == "DICOMDIR":
            yield from_files(_referenced(path) or _walk(path.parent), progress)
        else:
            yield from_files([path], progress)
    except PermissionError as fault:
        raise InputNotFound("The path may not be opened by this user.", code="no-permission") from fault


def _from_folder(folder: Path, progress: Callable[[int, int], None] | None) -> Input:
    """A folder; a DICOMDIR in it says where its files lie, unless it is damaged."""
    directory = next((p for p in sorted(folder.iterdir()) if p.name.upper() == "DICOMDIR" and p.is_file()), None)
    files = (_referenced(directory) if directory else []) or _walk(folder)
    volumes = [file for file in files if is_volume_file(file)]
    if len(volumes) == 1 and not any(_is_dicom(file) for file in files):
        return Input(volume=read_volume_file(volumes[0]), skipped={"not-dicom": len(files) - 1} if len(files) > 1 else {})
    return from_files(files, progress)


def _walk(folder: Path) -> list[Path]:
    return [Path(root, name) for root, _, names in os.walk(folder) for name in names]


def _referenced(directory: Path) -> list[Path]:
    """Files that a DICOMDIR names (PS3.10 8.6), only those inside its own folder; empty where it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's quote values, which may be a patient's
            records = dcmread(directory).get("DirectoryRecordSequence", [])
    except (OSError, InvalidDicomError, EOFError, ValueError, AttributeError, KeyError):
        return []
    root = directory.parent.resolve()
    files = []
    for record in records:
        name = record.get("ReferencedFileID")
        if not name:
            continue
        parts = [name] if isinstance(name, str) else list(name)
        file = root.joinpath(*(str(part) for part in parts)).resolve()
        if file.is_relative_to(root) and file.is_file():
            files.append(file)
    return files


def from_files(files: Sequence[Path], progress: Callable[[int, int], None] | None = None) -> Input:
    """What these DICOM files hold. Raises NothingReadable."""
    skipped: Counter[str] = Counter()
    headers: list[Header | Crashed] = []
    if len(files) < PARALLEL_FROM:
        headers = [read_header(file) for file in files]
    else:
        for _, header in fork_map(read_header, files, chunk=32):
            headers.append(header)
            if progress and len(headers) % 16 == 0:
                progress(len(headers), len(files))
    instances: list[Instance] = []
    studies: dict[str, tuple[str, Study]] = {}
    for header in headers:
        if isinstance(header, Crashed) or header.fault or header.study is None:
            skipped["damaged-header" if isinstance(header, Crashed) else header.fault] += 1
            continue
        instances.extend(header.instances)
        # the same study whatever the order of the files: its first instance by UID speaks for it
        key = (header.instances[0].SOPInstanceUID, header.study) if header.instances else ("~", header.study)
        uid = header.study.StudyInstanceUID
        if uid not in studies or key[0] < studies[uid][0]:
            studies[uid] = key
    if not instances:
        raise NothingReadable(_nothing(len(files), skipped))
    return Input(
        instances=tuple(instances),
        studies={uid: study for uid, (_, study) in sorted(studies.items())},
        skipped=dict(sorted(skipped.items())),
    )


def _nothing(count: int, skipped: Counter[str]) -> str:
    if not count:
        return "The folder is empty; a folder, zip or file with CT images is needed."
    kinds = ", ".join(f"{n} {FAULT_WORDS[code]}" for code, n in skipped.most_common())
    return f"No image among {count} file{'s' * (count > 1)} ({kinds}); CT images in DICOM, NIfTI, MetaImage or NRRD are needed."


def _starts_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return looks_like_dicom(file.read(132))
    except OSError:
        return False
