"""Tools of others that judge our files, and source images to judge them with."""

import logging
import os
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from dicom_validator.validator.dicom_info import DicomInfo
from dicom_validator.validator.iod_validator import IODValidator
from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map, get_sop_class_iod_map
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import UID

from pneumoscope.records import Volume
from pneumoscope.results.encode import encode
from pneumoscope.results.header import patient_and_study, put_as_is

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
    for k, instance in enumerate(volume.instances):
        ds = patient_and_study(volume.study)
        ds.SpecificCharacterSet = "ISO_IR 192"
        for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            put_as_is(ds, keyword, getattr(instance, keyword))
        ds.Modality, ds.Rows, ds.Columns = instance.Modality, instance.Rows, instance.Columns
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


@lru_cache
def standard_tables() -> DicomInfo:
    """The standard as dicom-validator wants it, from the tables that highdicom carries instead of those it would download.

    They have no conditions: what is required only sometimes is allowed always. That goes for all functional groups, which
    may stand in either of two places, and for SR content, whose demands hang on the value type and which nests without end.
    """
    dictionary = {
        f"({tag >> 16:04X},{tag & 0xFFFF:04X})": {"name": name, "vr": vr, "vm": vm}
        for tag, (vr, vm, name, _, _) in DicomDictionary.items()
    }
    modules: dict[str, dict[str, dict]] = {}
    for name, rows in get_module_attribute_map().items():
        modules[name] = {}
        sometimes = name == "sr-document-content" or name.endswith("functional-groups")
        for row in rows:
            level = modules[name]
            for keyword in row["path"]:
                level = level[_tag(keyword)].setdefault("items", {})
            demand = row["type"][0] + "C" if sometimes else row["type"]
            level.setdefault(_tag(row["keyword"]), {"name": row["keyword"], "type": demand})
    content = modules["sr-document-content"]
    nested = content[_tag("ContentSequence")]["items"]
    nested |= content | {_tag("ContentSequence"): {"name": "ContentSequence", "type": "1C", "items": nested}}
    iods = {
        uid: {
            "title": iod,
            "modules": {m["key"]: {"ref": m["key"], "use": "U" if m["usage"] == "C" else m["usage"]} for m in parts},
            "group_macros": {},
        }
        for uid, iod in get_sop_class_iod_map().items()
        if (parts := get_iod_module_map().get(iod))
    }
    return DicomInfo(dictionary=dictionary, iods=iods, modules=modules)


def _tag(keyword: str) -> str:
    tag = tag_for_keyword(keyword) or 0
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def validator_complaints(ds: Dataset) -> list[str]:
    """Errors of dicom-validator: module, element, what is wrong."""
    result = IODValidator(ds, standard_tables(), log_level=logging.CRITICAL).validate()
    return sorted(
        f"{module}: {tag} {error.code.name}" for module, errors in result.module_errors.items() for tag, error in errors.items()
    )
