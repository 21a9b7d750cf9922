"""The report: one HTML file with its pictures inside, for eyes."""

import base64
import io
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, Template
from markupsafe import Markup
from PIL import Image

from pneumoscope import __version__
from pneumoscope.codes import severity
from pneumoscope.records import ZONES, Category, Finding, KeySlice, Parcel, Reading, Region
from pneumoscope.results.diagrams import profile_svg, zone_diagram_svg
from pneumoscope.results.pictures import coronal, key_slice
from pneumoscope.results.pictures.drawing import Rgb
from pneumoscope.results.words import NOT_FOR_DIAGNOSIS, REGION_WORDS, headline, meaning, percent

JPEG_QUALITY = 86
TONES = {Category.SIGN: "sign", Category.NO_SIGN: "nosign"}
SEX_WORDS = {"M": "male", "F": "female", "O": "other sex"}


@cache
def _template() -> Template:
    environment = Environment(loader=PackageLoader("pneumoscope.results"), autoescape=True, trim_blocks=True)
    return environment.get_template("report.html")


def build_report(reading: Reading) -> Parcel:
    """report.html: self-contained, without scripts; it asks no other host for anything."""
    scores, study = reading.scores, reading.study
    page = _template().render(
        patient={
            "name": person_name(study.PatientName),
            "id": study.PatientID,
            "born": study.PatientBirthDate,
            "sex": SEX_WORDS.get(study.PatientSex, ""),
            "study": study.StudyDescription,
            "date": study.StudyDate,
        },
        headline=headline(reading),
        meaning=meaning(scores.category),
        tone=TONES.get(scores.category, ""),
        score=scores.probability,
        category=str(scores.category),
        share=percent(reading.finding(Region.LUNGS).share),
        severity=reading.severity_points,
        notices=reading.notices,
        slices=[_slice(reading, key) for key in reading.key_slices],
        coronal_plain=data_uri(coronal(reading, overlay=False)),
        coronal_overlay=data_uri(coronal(reading)),
        zones_svg=Markup(zone_diagram_svg(reading)),  # noqa: S704  numbers and our own words
        profile_svg=Markup(profile_svg(reading)),  # noqa: S704
        rows=[_row(reading.finding(region)) for region in (Region.LUNGS, Region.RIGHT_LUNG, Region.LEFT_LUNG, *ZONES)],
        verdicts=reading.verdicts,
        model=reading.model,
        made_at=reading.made_at.strftime("%Y-%m-%d %H:%M %Z"),
        version=__version__,
        not_for_diagnosis=NOT_FOR_DIAGNOSIS,
    )
    return Parcel(name="report.html", media_type="text/html", content=page.encode())


def person_name(PatientName: str) -> str:
    """All component groups of a person name (PS3.5 6.2.1) to be read: "Hong Gildong 洪 吉洞"."""
    groups = [" ".join(part for part in group.split("^") if part) for group in PatientName.split("=")]
    return "  ".join(group for group in groups if group)


def data_uri(picture: Rgb) -> str:
    """A picture (row, column, 3) as a JPEG inside a link."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _slice(reading: Reading, key: KeySlice) -> dict[str, Any]:
    return {
        "number": key.index + 1,
        "plain": data_uri(key_slice(reading, key.index, overlay=False)),
        "overlay": data_uri(key_slice(reading, key.index, overlay=True)),
        "area": f"{key.lesion_area_mm2 / 100:.1f}",
        "share": percent(key.share),
    }


def _row(finding: Finding) -> dict[str, str]:
    return {
        "region": REGION_WORDS[finding.region],
        "volume": f"{finding.volume_ml:.0f}",
        "lesion": f"{finding.lesion_ml:.1f} ± {finding.lesion_uncertainty_ml:.1f}",
        "glass": f"{finding.ground_glass_ml:.1f}",
        "dense": f"{finding.consolidation_ml:.1f}",
        "share": percent(finding.share),
        "hu": f"{finding.mean_hu:.0f}",
        "band": "{} of 4, {}".format(*severity(finding.share)) if finding.region in ZONES else "",
    }
