"""The summary sheet: one picture that says it all, for viewers that show nothing else."""

import textwrap

import numpy as np
from PIL import Image, ImageDraw

from pneumoscope.codes import severity
from pneumoscope.records import ZONES, Finding, Reading, Region
from pneumoscope.results.pictures.coronal import coronal
from pneumoscope.results.pictures.drawing import TEXT_RGB, Rgb, font
from pneumoscope.results.pictures.slices import key_slice
from pneumoscope.results.words import NOT_FOR_DIAGNOSIS, REGION_WORDS, headline, percent

SIZE_PX = 1024
GREY_RGB = (150, 160, 168)
WARNING_RGB = (255, 196, 61)


def summary_sheet(reading: Reading) -> Rgb:
    """(1024, 1024, 3) without patient data: viewers put the patient's name beside it themselves."""
    sheet = Image.new("RGB", (SIZE_PX, SIZE_PX), (16, 20, 24))
    draw = ImageDraw.Draw(sheet)
    draw.text((24, 18), "Pneumoscope  AI reading of chest CT", font=font(26), fill=TEXT_RGB)
    draw.text((SIZE_PX - 24, 22), NOT_FOR_DIAGNOSIS, font=font(20), fill=WARNING_RGB, anchor="ra")
    y = 62
    for line in textwrap.wrap(headline(reading), 84):
        draw.text((24, y), line, font=font(22), fill=TEXT_RGB)
        y += 28
    draw.text((24, y + 4), _score_line(reading), font=font(18), fill=GREY_RGB)
    _paste(sheet, coronal(reading), (24, 172), (440, 400))
    for k, key in enumerate(reading.key_slices[:3]):
        _paste(sheet, key_slice(reading, key.index, overlay=True, width_px=480), (24 + 330 * k, 590), (316, 270))
    _table(draw, reading, (490, 172))
    _footer(draw, reading, 880)
    return np.asarray(sheet)


def _score_line(reading: Reading) -> str:
    scores = reading.scores
    score = "no score" if scores.probability is None else f"score {scores.probability:.2f} of 1"
    return f"{score}   category: {scores.category}   severity {reading.severity_points} of 24"


def _paste(sheet: Image.Image, picture: Rgb, at: tuple[int, int], box: tuple[int, int]) -> None:
    image = Image.fromarray(picture)
    image.thumbnail(box, Image.Resampling.LANCZOS)
    sheet.paste(image, at)


def _table(draw: ImageDraw.ImageDraw, reading: Reading, at: tuple[int, int]) -> None:
    x, y = at
    columns = (x, x + 250, x + 360, x + 420, x + 500)
    heads = ("region", "volume ml", "lesion ml", "", "share")
    for column, head in zip(columns, heads, strict=True):
        draw.text((column, y), head, font=font(16), fill=GREY_RGB, anchor="la" if column == x else "ra")
    for n, region in enumerate((Region.LUNGS, Region.RIGHT_LUNG, Region.LEFT_LUNG, *ZONES), start=1):
        row_y = y + 8 + 30 * n
        for column, cell in zip(columns, _row(reading.finding(region)), strict=True):
            draw.text((column, row_y), cell, font=font(18), fill=TEXT_RGB, anchor="la" if column == x else "ra")


def _row(finding: Finding) -> tuple[str, str, str, str, str]:
    points = str(severity(finding.share)[0]) if finding.region in ZONES else ""
    name = REGION_WORDS[finding.region] + (f" ({points} of 4)" if points else "")
    return name, f"{finding.volume_ml:.0f}", f"{finding.lesion_ml:.1f}", "", percent(finding.share)


def _footer(draw: ImageDraw.ImageDraw, reading: Reading, y: int) -> None:
    for notice in reading.notices[:4]:
        for line in textwrap.wrap("! " + notice.text, 118)[:2]:
            draw.text((24, y), line, font=font(16), fill=WARNING_RGB)
            y += 21
    model = reading.model
    made = reading.made_at.strftime("%Y-%m-%d %H:%M %Z")
    draw.text((24, SIZE_PX - 32), f"{model.name} {model.version}   {made}", font=font(16), fill=GREY_RGB)
