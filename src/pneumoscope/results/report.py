"""The report: one HTML file with its pictures inside, for eyes."""

import base64
import hashlib
import io
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from pneumoscope import __version__
from pneumoscope.codes import severity
from pneumoscope.records import ZONES, Category, Finding, KeySlice, Parcel, Reading, Region, SeriesVerdict, Study
from pneumoscope.results.diagrams import score_svg, strip_svg, zone_diagram_svg
from pneumoscope.results.pictures import coronal, evidence_slice, key_slice
from pneumoscope.results.pictures.coronal import band_px, project
from pneumoscope.results.pictures.drawing import Rgb
from pneumoscope.results.words import (
    LIMITS,
    NOT_FOR_DIAGNOSIS,
    REGION_WORDS,
    certainty,
    headline,
    meaning,
    parse_date,
    percent,
    person_names,
)

JPEG_QUALITY = 88
SLICE_WIDTH_PX, CORONAL_WIDTH_PX = 640, 640
#: Key slices that are shown once more, coloured by what speaks for the pattern.
LOOKS = 3
TONES = {
    Category.SIGN: "sign",
    Category.NO_SIGN: "no-sign",
    Category.INDETERMINATE: "indeterminate",
    Category.CANNOT_SAY: "cannot-say",
}
SEX_WORDS = {"M": "male", "F": "female", "O": "other"}
TABLE_REGIONS = (Region.LUNGS, Region.RIGHT_LUNG, Region.LEFT_LUNG, *ZONES)


def build_report(reading: Reading) -> Parcel:
    """report.html: self-contained, without scripts; it asks no other host for anything."""
    environment = _environment()
    style = environment.get_template("report.css").render().strip()
    page = environment.get_template(
        "report.html"
    ).render(
        policy=content_security_policy(style),
        style=Markup(style),  # noqa: S704  our own file
        patient=_patient(reading.study),
        finding=_finding(reading),
        notices=reading.notices,
        slices=[_slice(reading, key) for key in reading.key_slices],
        any_lesion=any(key.lesion_area_mm2 > 0 for key in reading.key_slices),
        looks=[_look(reading, key) for key in reading.key_slices[:LOOKS]],
        coronal=_coronal(reading),
        zones_svg=Markup(zone_diagram_svg({zone: reading.finding(zone).share for zone in ZONES})),  # noqa: S704  numbers and our own words
        rows=[_row(reading.finding(region)) for region in TABLE_REGIONS],
        verdicts=[_verdict(verdict) for verdict in reading.verdicts],
        model=reading.model,
        made_at=reading.made_at.strftime("%Y-%m-%d %H:%M %Z"),
        version=__version__,
        not_for_diagnosis=NOT_FOR_DIAGNOSIS,
    )
    return Parcel(name="report.html", media_type="text/html", content=page.encode())


def content_security_policy(style: str) -> str:
    """No scripts, no other host, no forms; the page's own style sheet by its hash, pictures from within."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def data_uri(picture: Rgb) -> str:
    """A picture (row, column, 3) as a JPEG inside a link, its colours as fine as its grey."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pneumoscope.results"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["unbroken"] = lambda words: words.replace(" %", "\N{NO-BREAK SPACE}%")
    return environment


def _patient(study: Study) -> dict[str, Any]:
    """Names, and the facts that are there, as (term, value)."""
    time = study.StudyTime.replace(":", "")
    clock = f" {time[:2]}:{time[2:4]}" if time[:4].isdecimal() and len(time) >= 4 else ""
    age = study.PatientAge.lstrip("0")
    facts = (
        ("ID", study.PatientID),
        ("born", _date(study.PatientBirthDate)),
        ("age", age[:-1] + " y" if age.endswith("Y") else age),
        ("sex", SEX_WORDS.get(study.PatientSex, study.PatientSex)),
        ("study", study.StudyDescription),
        ("of", _date(study.StudyDate) + clock if study.StudyDate else ""),
        ("accession", study.AccessionNumber),
    )
    return {"names": person_names(study.PatientName), "facts": [(term, value) for term, value in facts if value.strip()]}


def _date(value: str) -> str:
    parsed = parse_date(value)
    return parsed.isoformat() if parsed else value


def _finding(reading: Reading) -> dict[str, Any]:
    scores, lungs = reading.scores, reading.finding(Region.LUNGS)
    return {
        "headline": headline(reading),
        "tone": TONES[scores.category],
        "category": str(scores.category),
        "meaning": meaning(scores.category),
        "limits": LIMITS,
        "reason": scores.reason,
        "score": None if scores.probability is None else certainty(scores.probability),
        "score_svg": None if scores.probability is None else Markup(score_svg(scores.probability)),  # noqa: S704
        "share": percent(lungs.share),
        "lesion": f"{lungs.lesion_ml:.0f} ± {lungs.lesion_uncertainty_ml:.0f} ml",
        "severity": reading.severity_points,
    }


def _slice(reading: Reading, key: KeySlice) -> dict[str, Any]:
    volume = reading.volume
    number = volume.instances[key.index].InstanceNumber if volume.instances else None
    return {
        "number": key.index + 1,
        "instance": number,
        "position": f"{volume.positions_mm[key.index]:+.1f}".replace("-", "−"),
        "plain": data_uri(key_slice(reading, key.index, overlay=False, width_px=SLICE_WIDTH_PX)),
        "overlay": data_uri(key_slice(reading, key.index, overlay=True, width_px=SLICE_WIDTH_PX)),
        "area": f"{key.lesion_area_mm2 / 100:.1f}",
        "share": percent(key.share),
    }


def _look(reading: Reading, key: KeySlice) -> dict[str, Any]:
    return {"number": key.index + 1, "picture": data_uri(evidence_slice(reading, key.index, width_px=SLICE_WIDTH_PX))}


def _coronal(reading: Reading) -> dict[str, Any]:
    projections = project(reading)
    picture = coronal(reading, projections, width_px=CORONAL_WIDTH_PX)
    height, width, _ = picture.shape
    strip = strip_svg(reading, picture_px=(width, height), band_px=band_px(width))
    return {
        "plain": data_uri(coronal(reading, projections, overlay=False, width_px=CORONAL_WIDTH_PX)),
        "overlay": data_uri(picture),
        "strip": Markup(strip),  # noqa: S704  numbers and our own words
    }


def _row(finding: Finding) -> dict[str, str]:
    return {
        "region": REGION_WORDS[finding.region],
        "volume": f"{finding.volume_ml:.0f}",
        "lesion": f"{finding.lesion_ml:.1f} ± {finding.lesion_uncertainty_ml:.1f}",
        "glass": f"{finding.ground_glass_ml:.1f}",
        "dense": f"{finding.consolidation_ml:.1f}",
        "share": percent(finding.share),
        "hu": f"{finding.mean_hu:.0f}".replace("-", "−") if finding.volume_ml > 0 else "–",
        "points": f"{severity(finding.share)[0]} of 4" if finding.region in ZONES else "",
    }


def _verdict(verdict: SeriesVerdict) -> dict[str, Any]:
    return {
        "number": "–" if verdict.SeriesNumber is None else verdict.SeriesNumber,
        "description": verdict.SeriesDescription or "–",
        "images": verdict.image_count,
        "chosen": verdict.chosen,
        "reason": verdict.reason,
    }
