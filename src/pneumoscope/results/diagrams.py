"""Diagrams of the report, as inline SVG: presentation attributes only, so that the page can forbid all inline styles."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumoscope.codes import SEVERITY_BANDS, severity
from pneumoscope.records import CONSOLIDATION_LABEL, GROUND_GLASS_LABEL, ZONES, Reading, Region
from pneumoscope.results.words import REGION_WORDS, percent

#: Fill and letters of each severity band, 0 to 4: brighter is more, as in the coronal view.
BAND_FILLS = ("#3d4f5b", "#6d2e98", "#b0347c", "#f0805a", "#fbd23c")
BAND_LETTERS = ("#ffffff", "#ffffff", "#ffffff", "#1a1020", "#1a1020")
#: The right lung as a radiologist sees it, on the left of the picture; the left one has the notch of the heart.
LUNG_PATHS = {
    "right": "M112 12C74 12 40 72 29 138C20 190 17 226 19 246C44 212 104 204 139 226"
    "C137 200 134 176 134 150L135 70C134 34 132 12 112 12Z",
    "left": "M188 12C226 12 260 72 271 138C280 190 283 226 281 246C262 218 232 212 207 230"
    "C216 206 212 186 194 172C178 160 166 150 166 128L165 70C166 34 168 12 188 12Z",
}
ZONE_EDGES = (12, 90, 168, 246)
#: Where the numbers of a zone stand, clear of dome and notch.
ZONE_TEXT = {
    ("right", "upper"): (96, 58),
    ("right", "middle"): (84, 130),
    ("right", "lower"): (80, 188),
    ("left", "upper"): (206, 58),
    ("left", "middle"): (226, 130),
    ("left", "lower"): (245, 188),
}


@dataclass(frozen=True, kw_only=True)
class ZoneWords:
    """What the zone diagram says, in some language."""

    title: str
    zones: Mapping[Region, str]
    of_four: str  # with {points}
    percent: Callable[[float], str]

    def short(self, share: float) -> str:
        """A share, as short as there is room for."""
        return "&lt; 0.1 %" if 0 < share < 0.001 else self.percent(share)


ENGLISH = ZoneWords(
    title="Share of each zone involved",
    zones={zone: REGION_WORDS[zone] for zone in ZONES},
    of_four="{points} of 4",
    percent=percent,
)
GROUND_GLASS_FILL, CONSOLIDATION_FILL, LUNG_FILL = "#ffc43d", "#e24484", "#5cc8d6"
STRIP_WIDTH = 150
STRIP_LEFT = 30


def zone_diagram_svg(shares: Mapping[Region, float], words: ZoneWords = ENGLISH) -> str:
    """Two lungs in three zones each, filled by severity band, with the share and the points of each.

    ``shares``: of each zone, 0 to 1.
    """
    label = ", ".join(
        f"{words.zones[Region(f'{side}_{name}_zone')]} {words.percent(shares[Region(f'{side}_{name}_zone')])}"
        for side in LUNG_PATHS
        for name in ("upper", "middle", "lower")
    )
    parts = [f'<svg viewBox="0 0 300 300" role="img" aria-label="{words.title}: {label}">']
    for side, path in LUNG_PATHS.items():
        parts.append(f'<clipPath id="clip-{side}"><path d="{path}"/></clipPath><g clip-path="url(#clip-{side})">')
        parts += [
            _zone(shares[Region(f"{side}_{name}_zone")], side, edges_of=(name, edges), words=words) for name, edges in _zones()
        ]
        parts.append(f'</g><path d="{path}" fill="none" stroke="currentColor" stroke-opacity=".6"/>')
    parts.append('<text x="8" y="24" font-size="15">R</text><text x="292" y="24" font-size="15" text-anchor="end">L</text>')
    for points, (fill, (_, _, band)) in enumerate(zip(BAND_FILLS, SEVERITY_BANDS, strict=True)):
        x = 4 + 59 * points
        parts.append(f'<rect x="{x}" y="266" width="56" height="10" fill="{fill}"/>')
        short = band.replace(" and more", "+").replace("under ", "< ").replace(" to ", "–")
        parts.append(
            f'<text x="{x + 28}" y="290" font-size="11" text-anchor="middle" class="dim">{short.replace("<", "&lt;")}</text>'
        )
    return "".join([*parts, "</svg>"])


def _zones() -> list[tuple[str, tuple[int, int]]]:
    return list(zip(("upper", "middle", "lower"), pairwise(ZONE_EDGES), strict=True))


def _zone(share: float, side: str, *, edges_of: tuple[str, tuple[int, int]], words: ZoneWords) -> str:
    points, _ = severity(share)
    name, (top, bottom) = edges_of
    (x, y), fill = ZONE_TEXT[side, name], BAND_FILLS[points]
    text = f'text-anchor="middle" fill="{BAND_LETTERS[points]}"'
    return (
        f'<rect x="0" y="{top}" width="300" height="{bottom - top - 2}" fill="{fill}"/>'
        f'<text x="{x}" y="{y}" font-size="16" font-weight="600" {text}>{words.short(share)}</text>'
        f'<text x="{x}" y="{y + 16}" font-size="11" {text}>{words.of_four.format(points=points)}</text>'
    )


def strip_svg(reading: Reading, *, picture_px: tuple[int, int], band_px: int) -> str:
    """Area of lung and of lesion along the body, head up, of the same height as the coronal view beside it.

    ``picture_px``: (width, height) of that view; ``band_px``: the part of its height that is legend.
    """
    _, height = picture_px
    volume, masks = reading.volume, reading.masks
    pixel_cm2 = volume.PixelSpacing[0] * volume.PixelSpacing[1] / 100
    areas = {
        "lung": _per_slice(masks.lungs) * pixel_cm2,
        "dense": _per_slice(one == CONSOLIDATION_LABEL for one in masks.lesions) * pixel_cm2,
        "glass": _per_slice(one == GROUND_GLASS_LABEL for one in masks.lesions) * pixel_cm2,
    }
    top_mm = float(volume.positions_mm[-1] + volume.intervals_mm[-1] / 2)
    bottom_mm = float(volume.positions_mm[0] - volume.intervals_mm[0] / 2)
    y = (top_mm - volume.positions_mm) / max(top_mm - bottom_mm, 1e-6) * (height - band_px)
    most = max(float(areas["lung"].max()), 1.0)
    scale = (STRIP_WIDTH - STRIP_LEFT - 6) / most
    parts = [
        f'<svg viewBox="0 0 {STRIP_WIDTH} {height}" role="img" aria-label="Area of lung and of lesion in each slice, head up">',
        _area(areas["lung"] * scale, y, f'fill="{LUNG_FILL}" fill-opacity=".28" stroke="{LUNG_FILL}"'),
        _area((areas["glass"] + areas["dense"]) * scale, y, f'fill="{GROUND_GLASS_FILL}"'),
        _area(areas["dense"] * scale, y, f'fill="{CONSOLIDATION_FILL}"'),
    ]
    for key in reading.key_slices:
        at = y[key.index]
        parts.append(f'<path d="M{STRIP_LEFT - 6} {at:.1f}H{STRIP_WIDTH - 4}" stroke="currentColor" stroke-dasharray="2 3"/>')
        parts.append(f'<text x="{STRIP_LEFT - 8}" y="{at + 4:.1f}" font-size="12" text-anchor="end">{key.index + 1}</text>')
    low = height - band_px
    parts.append(f'<path d="M{STRIP_LEFT} 0V{low}" stroke="currentColor" stroke-opacity=".4"/>')
    words = f'y="{low + 16}" font-size="12" class="dim"'
    parts.append(f'<text x="{STRIP_LEFT}" {words}>0</text>')
    parts.append(f'<text x="{STRIP_WIDTH - 2}" text-anchor="end" {words}>{most:.0f} cm²</text>')
    return "".join([*parts, "</svg>"])


def _per_slice(slices: Iterable[NDArray[Any]]) -> NDArray[np.float64]:
    """Voxels of each slice that are not zero; one by one, since numpy is slow to count along axes."""
    return np.array([np.count_nonzero(one) for one in slices], dtype=np.float64)


def _area(widths: NDArray[np.float64], y: NDArray[np.float64], look: str) -> str:
    points = " ".join(f"{STRIP_LEFT + w:.1f},{at:.1f}" for w, at in zip(widths, y, strict=True))
    return f'<polygon points="{STRIP_LEFT},{y[0]:.1f} {points} {STRIP_LEFT},{y[-1]:.1f}" {look}/>'


def score_svg(score: float) -> str:
    """A scale from 0 to 1 with a mark at the score."""
    x = 8 + 184 * score  # the mark stays whole at both ends
    ticks = "".join(f'<path d="M{8 + 46 * k} 16v6" stroke="currentColor" stroke-opacity=".5"/>' for k in range(5))
    return (
        f'<svg viewBox="0 0 200 24" role="img" aria-label="score {score:.2f} on a scale from 0 to 1" class="scale">'
        '<rect x="8" y="9" width="184" height="6" rx="3" fill="currentColor" fill-opacity=".22"/>'
        f'<rect x="8" y="9" width="{x - 8:.1f}" height="6" rx="3" fill="currentColor" fill-opacity=".7"/>{ticks}'
        f'<circle cx="{x:.1f}" cy="12" r="7" fill="currentColor"/></svg>'
    )
