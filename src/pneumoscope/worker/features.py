"""What is known of a reading's input besides the finding, in the names and words of the fleet: no identity, one number each.

All of it comes from what the reading holds already, but for the dose, which one more look at one header tells.
"""

import re
from collections.abc import Mapping

import numpy as np
from pydicom import dcmread

from pneumoscope.classification.guard import age_years
from pneumoscope.fleet.messages import EDGES, WORDS
from pneumoscope.records import Instance, Reading, Region, Study
from pneumoscope.results.words import parse_date

Features = dict[str, float | str]
#: As makers write themselves, in lower case; the first that is found counts.
_MAKERS: tuple[tuple[str, str], ...] = (
    ("ge", r"\bge\b|general electric"),
    ("siemens", "siemens"),
    ("philips", "philips"),
    ("canon", "canon|toshiba"),
    ("united-imaging", r"united.?imaging|\buih\b"),
    ("neusoft", "neusoft"),
    ("fujifilm", "fuji"),
    ("hitachi", "hitachi"),
)
#: Kernels by what they do to edges; those of makers by letter and number are below.
_KERNELS: tuple[tuple[str, str], ...] = (
    ("sharp", r"sharp|lung|bone|edge|chst|detail|\byc\b|\by[bcd]\b|\b[de]\b|\bl\b"),
    ("smooth", r"soft|smooth|\ba\b"),
    ("standard", r"std|standard|stnd|body|\b[bc]\b"),
)
_NUMBERED = re.compile(r"^(?:[bdhijqu][a-z]?|fc|tx)(\d{2})[a-z0-9]*(?:\b|_)", re.IGNORECASE)
_SIEMENS, _CANON = (35, 50), (10, 50)


def features(reading: Reading) -> Features:
    """Features by names of ``EDGES`` and ``WORDS``; a number that is not known is left out, a word is "unknown"."""
    volume = reading.volume
    first = volume.instances[len(volume.instances) // 2] if volume.instances else None
    numbers: Mapping[str, float | None] = {
        "thickness_mm": volume.SliceThickness or float(np.median(volume.intervals_mm)),
        "noise_hu": reading.noise_hu,
        "age_years": _age(reading.study),
        "lung_volume_l": reading.finding(Region.LUNGS).volume_ml / 1000,
        "dose_mas": dose_mas(first) if first else None,
    }
    words = {
        "manufacturer": manufacturer(first.Manufacturer if first else ""),
        "kernel": kernel(first.ConvolutionKernel if first else ""),
        "sex": _sex(reading.study.PatientSex),
    }
    assert numbers.keys() <= EDGES.keys()
    assert words.keys() == WORDS.keys()
    known: Features = {name: round(value, 3) for name, value in numbers.items() if value is not None and np.isfinite(value)}
    return known | words


def manufacturer(told: str) -> str:
    """Whose scanner it was."""
    if not told.strip():
        return "unknown"
    return next((name for name, pattern in _MAKERS if re.search(pattern, told, re.IGNORECASE)), "other")


def kernel(told: str) -> str:
    """How sharp the reconstruction is, from what the maker calls its kernel, such as Br40d, FC51, LUNG, YC."""
    name = told.split("\\", maxsplit=1)[0].strip(" []'\"").replace("_", " ")
    if not name:
        return "unknown"
    if found := _NUMBERED.match(name):
        number, (low, high) = int(found[1]), _CANON if name[:2].lower() == "fc" else _SIEMENS
        return "smooth" if number < low else "sharp" if number >= high else "standard"
    return next((word for word, pattern in _KERNELS if re.search(pattern, name, re.IGNORECASE)), "other")


def dose_mas(instance: Instance) -> float | None:
    """Exposure in mAs of one slice, or the tube's current in mA times the exposure time; None where neither is told."""
    tags = ["Exposure", "ExposureInuAs", "XRayTubeCurrent", "ExposureTime"]
    try:
        header = dcmread(instance.path, stop_before_pixels=True, specific_tags=[*tags])
        told = {name: float(header[name].value) for name in tags if name in header and header[name].value not in (None, "")}
    except Exception:  # noqa: BLE001  what a damaged header makes pydicom raise has no bounds, and no dose is worth a reading
        return None
    if "Exposure" in told:
        return told["Exposure"]
    if "ExposureInuAs" in told:
        return told["ExposureInuAs"] / 1000
    if "XRayTubeCurrent" in told and "ExposureTime" in told:
        return told["XRayTubeCurrent"] * told["ExposureTime"] / 1000
    return None


def _age(study: Study) -> float | None:
    told = age_years(study.PatientAge)
    if told is not None:
        return told
    born, then = parse_date(study.PatientBirthDate), parse_date(study.StudyDate)
    return (then - born).days / 365.25 if born and then and then >= born else None


def _sex(told: str) -> str:
    word = told.strip().lower()
    return word if word in WORDS["sex"] else "other" if word else "unknown"
