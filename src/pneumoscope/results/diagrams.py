"""Diagrams of the report, as inline SVG."""

import numpy as np

from pneumoscope.codes import severity
from pneumoscope.records import Reading, Region
from pneumoscope.results.words import percent

#: Fill of each severity band, 0 to 4.
BAND_FILLS = ("#2f4552", "#8a7434", "#b9752b", "#c2512f", "#a8265a")
#: Right lung as a radiologist sees it, on the left of the picture; the left one is its mirror image with a cardiac notch.
RIGHT_PATH = "M118 18 C86 18 52 70 40 130 C28 190 22 240 26 262 C60 246 110 244 138 258 L142 120 C142 60 138 18 118 18 Z"
LEFT_PATH = (
    "M202 18 C234 18 268 70 280 130 C292 190 298 240 294 262 C268 248 236 246 214 254 "
    "C226 220 204 190 182 184 L178 120 C178 60 182 18 202 18 Z"
)
THIRDS = (("upper", 10, 92), ("middle", 92, 174), ("lower", 174, 270))


def zone_diagram_svg(reading: Reading) -> str:
    """Two lungs in three zones each, filled by severity band, with the share in each."""
    parts = [
        '<svg viewBox="0 0 320 280" role="img" aria-label="Share of each zone involved" style="width:100%;max-width:460px">'
    ]
    for side, path in (("right", RIGHT_PATH), ("left", LEFT_PATH)):
        parts.append(f'<clipPath id="clip-{side}"><path d="{path}"/></clipPath><g clip-path="url(#clip-{side})">')
        for name, top, bottom in THIRDS:
            points, _ = severity(reading.finding(Region(f"{side}_{name}_zone")).share)
            parts.append(f'<rect x="0" y="{top}" width="320" height="{bottom - top - 2}" fill="{BAND_FILLS[points]}"/>')
        parts.append(f'</g><path d="{path}" fill="none" stroke="currentColor" stroke-opacity=".5"/>')
        for name, top, bottom in THIRDS:
            share = reading.finding(Region(f"{side}_{name}_zone")).share
            x = 92 if side == "right" else 236
            parts.append(
                f'<text x="{x}" y="{(top + bottom) / 2 + 10}" text-anchor="middle" style="fill:#fff;font-weight:600">'
                f"{percent(share)}</text>"
            )
    parts.append('<text x="6" y="22" class="dim">R</text><text x="304" y="22" class="dim">L</text></svg>')
    return "".join(parts)


def profile_svg(reading: Reading) -> str:
    """Area of lung and of lesion along the body, feet on the left."""
    volume, masks = reading.volume, reading.masks
    lung = np.count_nonzero(masks.lungs, axis=(1, 2)).astype(float)
    lesion = np.count_nonzero(masks.lesions, axis=(1, 2)).astype(float)
    low, high = float(volume.positions_mm[0]), float(volume.positions_mm[-1])
    x = (volume.positions_mm - low) / max(high - low, 1e-6) * 480
    top = max(float(lung.max()), 1.0)

    def area(values: np.ndarray, style: str) -> str:
        points = " ".join(f"{a:.1f},{100 - 92 * b / top:.1f}" for a, b in zip(x, values, strict=True))
        return f'<polygon points="0,100 {points} 480,100" {style}/>'

    return (
        '<svg viewBox="0 0 480 118" role="img" aria-label="Lung and lesion area along the body" style="width:100%">'
        + area(lung, 'fill="#5cc8d6" fill-opacity=".35"')
        + area(lesion, 'fill="#e2669a"')
        + '<text x="2" y="115" class="dim">feet</text><text x="478" y="115" class="dim" text-anchor="end">head</text></svg>'
    )
