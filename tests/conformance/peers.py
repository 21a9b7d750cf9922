"""Tools of others that judge our files, and source images to judge them with."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map, get_sop_class_iod_map
from pydicom.dataset import Dataset
from pydicom.uid import UID

from pneumoscope.records import Volume
from pneumoscope.results.encode import encode
from pneumoscope.results.source import source_datasets

ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"

#: What dciodvfy warns of although it is right: (part of the line, why).
KNOWN_WARNINGS = (
    ("99PNEUMOSCOPE", "a private coding scheme is allowed"),
    ("DeviceUID", "General Equipment has had Device UID since 2017"),
    ("Standard Extended SOP Class", "follows from the line about Device UID"),
    ("would be needed to build DICOMDIR", "an empty type 2 element is the source's"),
)

NAMES = {
    "Korean": "Hong^Gildong=洪^吉洞=홍^길동",
    "Chinese": "Zhang^XiaoDong=张^小东",
    "Japanese": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "German": "Äneas^Rüdiger",
}


def need(reason: str) -> None:
    """Skip for want of a tool; on the build machine fail, so that no check is lost unseen."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def run(tool: str, *arguments: object) -> tuple[int, str]:
    """Exit status and all that the tool says."""
    if shutil.which(tool) is None:
        need(f"{tool} is not installed")
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def iod_complaints(path: Path) -> list[str]:
    """Errors of dciodvfy, and the warnings that are not known to be wrong."""
    _, said = run("dciodvfy", "-new", path)
    return [
        line
        for line in said.splitlines()
        if line.startswith("Error") or (line.startswith("Warning") and not any(known in line for known, _ in KNOWN_WARNINGS))
    ]


def write(ds: Dataset, path: Path) -> Path:
    path.write_bytes(encode(ds))
    return path


def write_sources(volume: Volume, folder: Path) -> list[Path]:
    """The source slices as CT files with the volume's own pixels."""
    paths = []
    for k, ds in enumerate(source_datasets(volume)):
        instance = volume.instances[k]
        ds.ImageType = list(instance.ImageType)
        ds.SeriesNumber, ds.InstanceNumber = instance.SeriesNumber, instance.InstanceNumber
        ds.AcquisitionNumber = ds.KVP = ds.PositionReferenceIndicator = ""
        ds.PatientPosition = "HFS"
        ds.Manufacturer = instance.Manufacturer
        ds.ImagePositionPatient = list(volume.origins_mm[k])
        ds.ImageOrientationPatient = list(volume.ImageOrientationPatient)
        ds.PixelSpacing = list(volume.PixelSpacing)
        ds.SliceThickness = volume.SliceThickness
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit = 15
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = "1", "-1024", "HU"
        ds.PixelData = (volume.hu[k] + 1024).astype("<u2").tobytes()
        ds["PixelData"].VR = "OW"
        paths.append(write(ds, folder / f"ct-{k:03d}.dcm"))
    return paths


def reference_uids(ds: Dataset) -> set[UID]:
    """Every UID that the dataset refers to as an instance, at any depth."""
    return {element.value for element in ds.iterall() if element.keyword == "ReferencedSOPInstanceUID"}


def picture(rows: int = 33, columns: int = 47) -> np.ndarray:
    """A small RGB picture with an odd number of bytes."""
    return np.random.default_rng(0).integers(0, 256, (rows, columns, 3), dtype=np.uint8)


def missing_elements(ds: Dataset) -> list[str]:
    """Type 1 elements without a value and type 2 elements that are absent, by the standard's own tables.

    The tables of PS3.3 are those that highdicom carries: mandatory modules, at every depth where the parent is there. Left
    out: functional groups, which may stand in either of two places, and SR content, whose demands hang on the value type.
    """
    iod = get_sop_class_iod_map()[ds.SOPClassUID]
    modules = get_module_attribute_map()
    missing = []
    for module in (m["key"] for m in get_iod_module_map()[iod] if m["usage"] == "M"):
        if module.endswith("functional-groups") or module == "sr-document-content":
            continue
        for row in modules[module]:
            for place, parent in _at(ds, row["path"]):
                element = parent.get_item(row["keyword"])
                absent = element is None or (row["type"] == "1" and parent[row["keyword"]].is_empty)
                if row["type"] in ("1", "2") and absent:
                    missing.append(".".join([*place, row["keyword"]]))
    return missing


def _at(ds: Dataset, path: list[str]) -> Iterator[tuple[list[str], Dataset]]:
    if not path:
        yield [], ds
        return
    for item in ds.get(path[0]) or []:
        for place, parent in _at(item, path[1:]):
            yield [path[0], *place], parent
