"""The two tables: which stacks may not be read and why, and which of the rest is best."""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    JPEGLSNearLossless,
    LegacyConvertedEnhancedCTImageStorage,
)

from pneumoscope.geometry import angle_deg, slice_normal
from pneumoscope.series.stacks import Stack

CT_CLASSES = (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
MIN_SLICES = 10
MIN_EXTENT_MM = 80.0
MAX_THICKNESS_MM = 10.0
THICK_MM = 5.0
#: Off the patient's axis: a chest scan is not tilted, a reformat is turned by 90 degrees.
MAX_OBLIQUE_DEG = 20.0
#: Between the slices' normal and the direction they are stacked in; beyond it the voxels are sheared (gantry tilt).
MAX_TILT_DEG = 2.0
#: A hole longer than this could hide a lesion that changes the reading.
MAX_GAP_MM = 20.0
MAX_MISSING_SHARE = 0.10
#: Rescale Type of images in HU, or of what stands for them: HU, modified HU, and what some stations write for either.
HU_TYPES = ("", "HU", "HU_MOD", "US")
MIN_PIXELS = 128
#: 2,048 slices of 1,024 x 1,024, in 4 GB. Compressed, images of any size fit into a file of a few kB.
MAX_VOXELS = 2**31
PIXEL_SPACING_MM = (0.2, 2.5)

#: Transfer syntaxes whose pixels come back as they were stored, or very nearly (the last two, which are announced).
DECODABLE = {
    "1.2.840.10008.1.2": "plain",
    "1.2.840.10008.1.2.1": "plain",
    "1.2.840.10008.1.2.1.99": "deflated",
    "1.2.840.10008.1.2.2": "plain, big endian",
    "1.2.840.10008.1.2.4.57": "JPEG Lossless",
    "1.2.840.10008.1.2.4.70": "JPEG Lossless, first-order",
    "1.2.840.10008.1.2.4.80": "JPEG-LS Lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 Lossless",
    "1.2.840.10008.1.2.5": "RLE",
    JPEGLSNearLossless: "JPEG-LS near-lossless",
    JPEG2000: "JPEG 2000",
    "1.2.840.10008.1.2.4.201": "High-Throughput JPEG 2000 Lossless",
    "1.2.840.10008.1.2.4.202": "High-Throughput JPEG 2000 Lossless, RPCL",
    HTJ2K: "High-Throughput JPEG 2000",
}
PERHAPS_LOSSY = (HTJ2K, JPEG2000, JPEGLSNearLossless)
LOSSY_JPEG = {f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55)}
NOT_SLICES = ("LOCALIZER", "PROJECTION", "MIP", "MINIP", "MAX_IP", "MIN_IP", "MPR", "CSA", "VRT", "SSD", "MEAN", "DOSE")


class Rule(NamedTuple):
    """``broken`` is true of a stack that may not be read; ``say`` tells what was found and what is allowed."""

    code: str
    broken: Callable[[Stack], bool]
    say: Callable[[Stack], str]


def _kinds(stack: Stack) -> tuple[str, ...]:
    words = {word for part in stack.first.ImageType[2:] for word in part.upper().split()}
    return tuple(sorted(words.intersection(NOT_SLICES)))


def _spacing_bad(stack: Stack) -> bool:
    spacing = stack.first.PixelSpacing
    return spacing is None or not all(PIXEL_SPACING_MM[0] <= s <= PIXEL_SPACING_MM[1] for s in spacing)


def _syntax(stack: Stack, among: set[str]) -> str:
    return next((i.TransferSyntaxUID for i in stack.instances if i.TransferSyntaxUID in among), "")


def _unknown_syntax(stack: Stack) -> str:
    return next((i.TransferSyntaxUID for i in stack.instances if i.TransferSyntaxUID not in DECODABLE), "")


def tilt_deg(stack: Stack) -> float:
    """Angle between the slices' normal and the direction in which they are stacked."""
    if len(stack.positions_mm) < 2:
        return 0.0
    first, last = (np.asarray(i.ImagePositionPatient) for i in (stack.instances[0], stack.instances[-1]))
    return angle_deg(last - first, _normal(stack))


def _normal(stack: Stack) -> np.ndarray:
    orientation = stack.first.ImageOrientationPatient
    assert orientation is not None, "the rule no-position comes first"
    return slice_normal(orientation)


def largest_gap_mm(stack: Stack) -> float:
    """The longest way from one slice to the next."""
    return float(np.diff(stack.positions_mm).max()) if len(stack.positions_mm) > 1 else 0.0


def missing_count(stack: Stack) -> int:
    """Slices that would fill the gaps at the usual step."""
    steps = np.diff(stack.positions_mm) / max(stack.step_mm, 1e-6)
    return int(np.sum(np.maximum(np.rint(steps[steps > 1.5]) - 1, 0)))


def _voxels(stack: Stack) -> int:
    """As many as are decoded."""
    return (len(stack.instances) + len(stack.doubles)) * stack.first.Rows * stack.first.Columns


#: In this order: a rule may rely on those before it.
RULES = (
    Rule("not-ct", lambda s: s.first.Modality not in ("CT", ""), lambda s: f"has modality {s.first.Modality}; CT is read"),
    Rule(
        "not-ct-image",
        lambda s: s.first.SOPClassUID not in CT_CLASSES,
        lambda s: f"is {UID(s.first.SOPClassUID).name}; CT Image and Enhanced CT Image Storage are read",
    ),
    Rule(
        "localizer",
        lambda s: "LOCALIZER" in _kinds(s),
        lambda s: "is a localizer, a projection of the whole patient; slices are needed",
    ),
    Rule("no-pixels", lambda s: not s.first.has_pixels, lambda s: "holds no pixel data"),
    Rule(
        "colour",
        lambda s: s.first.SamplesPerPixel != 1,
        lambda s: f"has {s.first.SamplesPerPixel} samples a pixel; CT has 1",
    ),
    Rule(
        "derived-view",
        lambda s: bool(_kinds(s)),
        lambda s: f"is a derived view ({', '.join(_kinds(s))}), not slices of density",
    ),
    Rule("lossy-jpeg", lambda s: bool(_syntax(s, LOSSY_JPEG)), lambda s: "is lossy JPEG, whose 8 or 12 bits are not HU"),
    Rule(
        "unknown-transfer-syntax",
        lambda s: bool(_unknown_syntax(s)),
        lambda s: f"has a transfer syntax ({_unknown_syntax(s) or 'absent'}) that cannot be decoded",
    ),
    Rule(
        "no-rescale",
        lambda s: any(i.RescaleSlope is None or i.RescaleIntercept is None or i.RescaleSlope == 0 for i in s.instances),
        lambda s: "lacks a rescale slope or intercept, so its values are not HU",
    ),
    Rule(
        "other-unit",
        lambda s: any(i.RescaleType.strip().upper() not in HU_TYPES for i in s.instances),
        lambda s: "holds values in another unit than HU, such as the concentration of a material",
    ),
    Rule(
        "no-position",
        lambda s: not len(s.positions_mm),
        lambda s: "lacks Image Position (Patient) or Image Orientation (Patient)",
    ),
    Rule(
        "no-pixel-spacing",
        _spacing_bad,
        lambda s: (
            "lacks pixel spacing"
            if s.first.PixelSpacing is None
            else f"has a pixel spacing of {s.first.PixelSpacing[0]:.2f} x {s.first.PixelSpacing[1]:.2f} mm; "
            f"{PIXEL_SPACING_MM[0]} to {PIXEL_SPACING_MM[1]} mm is read"
        ),
    ),
    Rule(
        "small-matrix",
        lambda s: min(s.first.Rows, s.first.Columns) < MIN_PIXELS,
        lambda s: f"has a matrix of {s.first.Rows} x {s.first.Columns}; at least {MIN_PIXELS} x {MIN_PIXELS} is read",
    ),
    Rule(
        "too-large",
        lambda s: _voxels(s) > MAX_VOXELS,
        lambda s: f"has {_voxels(s) // 10**6} million voxels; at most {MAX_VOXELS // 10**6} million are read",
    ),
    Rule(
        "not-axial",
        lambda s: angle_deg(_normal(s), np.array([0.0, 0.0, 1.0])) > MAX_OBLIQUE_DEG,
        lambda s: (
            f"has slices {angle_deg(_normal(s), np.array([0.0, 0.0, 1.0])):.0f} degrees off axial; "
            f"at most {MAX_OBLIQUE_DEG:.0f} is read"
        ),
    ),
    Rule(
        "too-few-slices",
        lambda s: len(s.instances) < MIN_SLICES,
        lambda s: (
            f"has one slice; at least {MIN_SLICES} are needed"
            if len(s.instances) == 1
            else f"has {len(s.instances)} slices at different positions; at least {MIN_SLICES} are needed"
        ),
    ),
    Rule(
        "too-short",
        lambda s: s.extent_mm < MIN_EXTENT_MM,
        lambda s: f"covers {s.extent_mm:.0f} mm; at least {MIN_EXTENT_MM:.0f} mm is needed",
    ),
    Rule(
        "tilted",
        lambda s: tilt_deg(s) > MAX_TILT_DEG,
        lambda s: f"is sheared by {tilt_deg(s):.1f} degrees (gantry tilt); at most {MAX_TILT_DEG:.0f} is read",
    ),
    Rule(
        "too-thick",
        lambda s: max(s.first.SliceThickness or 0.0, s.step_mm) > MAX_THICKNESS_MM,
        lambda s: (
            f"has slices {max(s.first.SliceThickness or 0.0, s.step_mm):.1f} mm apart or thick; "
            f"at most {MAX_THICKNESS_MM:.0f} mm is read"
        ),
    ),
    Rule(
        "gap",
        lambda s: largest_gap_mm(s) > MAX_GAP_MM,
        lambda s: f"has a gap of {largest_gap_mm(s):.0f} mm; at most {MAX_GAP_MM:.0f} mm is allowed",
    ),
    Rule(
        "too-many-missing",
        lambda s: missing_count(s) > MAX_MISSING_SHARE * len(s.instances),
        lambda s: (
            f"lacks {missing_count(s)} slices of {missing_count(s) + len(s.instances)}; "
            f"at most {MAX_MISSING_SHARE:.0%} of those present is allowed"
        ),
    ),
)


def first_broken(stack: Stack) -> tuple[int, Rule | None]:
    """The first rule that this stack breaks and its place in the table; past the end and None where it breaks none."""
    return next(((n, rule) for n, rule in enumerate(RULES) if rule.broken(stack)), (len(RULES), None))


class Preference(NamedTuple):
    """``rank`` grows as a stack gets better; ``worse`` says what a stack that loses by it is."""

    rank: Callable[[Stack], float]
    worse: str


def sharpness(stack: Stack) -> int:
    """0 soft or medium, 1 sharp, by the vendors' names of kernels: B60f, BONEPLUS, LUNG, FC51, YC ..."""
    kernel = stack.first.ConvolutionKernel.upper()
    if re.search(r"LUNG|BONE|EDGE|SHARP|DETAIL", kernel):
        return 1
    number = re.match(r"\D*?(\d\d)", kernel)
    return int(number is not None and int(number.group(1)) >= 56) if number else 0


def _thickness(stack: Stack) -> float:
    return max(stack.first.SliceThickness or stack.step_mm, stack.step_mm)


#: In this order: the first on which two stacks differ decides.
PREFERENCES = (
    Preference(lambda s: min(round(s.extent_mm / 60), 4), "covers less of the chest"),
    Preference(lambda s: -int(s.first.ImageType[:1] == ("DERIVED",)), "is derived, another is original"),
    Preference(lambda s: -int(_thickness(s) > 3.05) - int(_thickness(s) > THICK_MM), "has thicker slices"),
    Preference(lambda s: -sharpness(s), "has a sharper, noisier kernel, which blurs densities"),
    Preference(lambda s: -int(bool(s.first.ContrastBolusAgent)), "was taken with contrast"),
    Preference(lambda s: -missing_count(s), "lacks more slices"),
    Preference(lambda s: s.extent_mm // 20, "covers less of the chest"),
    Preference(lambda s: -abs(_thickness(s) - 1.5), "has slices further from 1.5 mm"),
    Preference(lambda s: len(s.instances), "has fewer slices"),
)


def ranking(stack: Stack) -> tuple[float, ...]:
    """Sort key of an eligible stack; the best is the largest."""
    return tuple(preference.rank(stack) for preference in PREFERENCES)
