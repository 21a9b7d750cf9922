"""The summary sheet: one picture that says it all, for viewers that show nothing else."""

import textwrap

import numpy as np
from PIL import Image, ImageDraw

from pneumoscope.codes import severity
from pneumoscope.records import ZONES, Category, Finding, Reading, Region
from pneumoscope.results.pictures.coronal import coronal, project
from pneumoscope.results.pictures.drawing import (
    CONSOLIDATION_RGB,
    GROUND_GLASS_RGB,
    LUNG_RGB,
    TEXT_RGB,
    Colour,
    Rgb,
    font,
)
from pneumoscope.results.pictures.slices import key_slice
from pneumoscope.results.words import NOT_FOR_DIAGNOSIS, REGION_WORDS, headline, percent

SIZE_PX = 1024
EDGE_PX = 24
BACK_RGB: Colour = (16, 20, 24)
LINE_RGB: Colour = (52, 62, 70)
GREY_RGB: Colour = (165, 176, 184)
WARNING_RGB: Colour = (255, 196, 61)
CATEGORY_RGB: dict[Category, Colour] = {
    Category.NO_SIGN: (143, 214, 148),
    Category.INDETERMINATE: TEXT_RGB,
    Category.SIGN: (255, 156, 107),
    Category.CANNOT_SAY: WARNING_RGB,
}
TABLE_REGIONS = (Region.LUNGS, Region.RIGHT_LUNG, Region.LEFT_LUNG, *ZONES)
CORONAL_BOX = (460, 384)
MAX_WARNINGS = 4


def summary_sheet(reading: Reading) -> Rgb:
    """(1024, 1024, 3) without patient data: viewers put the patient's name beside it themselves."""
    sheet = Image.new("RGB", (SIZE_PX, SIZE_PX), BACK_RGB)
    draw = ImageDraw.Draw(sheet)
    _head(draw, reading)
    _paste(sheet, _coronal_within(reading, CORONAL_BOX), (EDGE_PX, 208), CORONAL_BOX)
    _table(draw, reading, (512, 208))
    for k, key in enumerate(reading.key_slices[:3]):
        _paste(sheet, key_slice(reading, key.index, overlay=True, width_px=316), (EDGE_PX + 330 * k, 604), (316, 262))
    _legend(draw, 876)
    _warnings(draw, reading, 906)
    model = reading.model
    made = reading.made_at.strftime("%Y-%m-%d %H:%M %Z")
    foot = f"{model.name} {model.version}   {made}   device {model.device_uid}"
    draw.text((EDGE_PX, SIZE_PX - 26), foot, font=font(14), fill=GREY_RGB)
    return np.asarray(sheet)


def thumbnail(reading: Reading, *, width_px: int = 192) -> Rgb:
    """(row, column, 3): the coronal view without letters, for lists."""
    return coronal(reading, width_px=width_px, lettered=False)


def _head(draw: ImageDraw.ImageDraw, reading: Reading) -> None:
    draw.text((EDGE_PX, 18), "Pneumoscope   AI reading of chest CT", font=font(22), fill=GREY_RGB)
    draw.text((SIZE_PX - EDGE_PX, 18), NOT_FOR_DIAGNOSIS, font=font(22), fill=WARNING_RGB, anchor="ra")
    draw.line((EDGE_PX, 52, SIZE_PX - EDGE_PX, 52), fill=LINE_RGB)
    words = textwrap.shorten(headline(reading), 2 * 76, placeholder=" ...")
    for line, y in zip(textwrap.wrap(words, 76), (64, 93, 122), strict=False):
        draw.text((EDGE_PX, y), line, font=font(24), fill=CATEGORY_RGB[reading.scores.category])
    lungs, scores = reading.finding(Region.LUNGS), reading.scores
    facts = (
        (
            "no score" if scores.probability is None else f"{scores.probability:.2f}",
            "" if scores.probability is None else "score, 0 to 1",
        ),
        (percent(lungs.share), "of the lungs"),
        (f"{lungs.lesion_ml:.0f} ml", "of lesion"),
        (f"{reading.severity_points} / 24", "severity"),
    )
    x = float(EDGE_PX)
    for fact, words in facts:
        draw.text((x, 182), fact, font=font(26), fill=TEXT_RGB, anchor="ls")
        x += draw.textlength(fact, font=font(26)) + 8
        draw.text((x, 182), words, font=font(17), fill=GREY_RGB, anchor="ls")
        x += draw.textlength(words, font=font(17)) + 36


def _coronal_within(reading: Reading, box: tuple[int, int]) -> Rgb:
    """The coronal view, drawn anew where it is too tall rather than shrunk with its letters."""
    width, height = box
    projections = project(reading)
    picture = coronal(reading, projections, width_px=width)
    return picture if len(picture) <= height else coronal(reading, projections, width_px=width * height // len(picture))


def _paste(sheet: Image.Image, picture: Rgb, at: tuple[int, int], box: tuple[int, int]) -> None:
    """Shrink a picture into a box and put it in the box's middle."""
    image = Image.fromarray(picture)
    image.thumbnail(box, Image.Resampling.LANCZOS)
    sheet.paste(image, (at[0] + (box[0] - image.width) // 2, at[1] + (box[1] - image.height) // 2))


def _table(draw: ImageDraw.ImageDraw, reading: Reading, at: tuple[int, int]) -> None:
    x, y = at
    columns = (x, x + 238, x + 324, x + 408, x + 488)
    for column, head in zip(columns, ("", "volume ml", "lesion ml", "share", "points"), strict=True):
        draw.text((column, y + 12), head, font=font(16), fill=GREY_RGB, anchor="ls" if column == x else "rs")
    for n, region in enumerate(TABLE_REGIONS):
        row_y = y + 52 + 38 * n
        draw.line((x, row_y - 27, columns[-1], row_y - 27), fill=LINE_RGB)
        for column, cell in zip(columns, _row(reading.finding(region)), strict=True):
            draw.text((column, row_y), cell, font=font(20), fill=TEXT_RGB, anchor="ls" if column == x else "rs")


def _row(finding: Finding) -> tuple[str, str, str, str, str]:
    points = f"{severity(finding.share)[0]} / 4" if finding.region in ZONES else ""
    share = percent(finding.share).replace("under", "<")
    return REGION_WORDS[finding.region], f"{finding.volume_ml:.0f}", f"{finding.lesion_ml:.1f}", share, points


def _legend(draw: ImageDraw.ImageDraw, y: int) -> None:
    x = float(EDGE_PX)
    for words, colour in (("ground-glass", GROUND_GLASS_RGB), ("consolidation", CONSOLIDATION_RGB), ("lung", LUNG_RGB)):
        draw.rectangle((x, y + 2, x + 13, y + 15), fill=colour)
        draw.text((x + 20, y), words, font=font(15), fill=GREY_RGB)
        x += 20 + draw.textlength(words, font=font(15)) + 24


def _warnings(draw: ImageDraw.ImageDraw, reading: Reading, y: int) -> None:
    lines = [textwrap.shorten("! " + notice.text, 118, placeholder=" ...") for notice in reading.notices]
    if len(lines) > MAX_WARNINGS:
        lines[MAX_WARNINGS - 1 :] = [f"! and {len(lines) - MAX_WARNINGS + 1} more: see the report"]
    for line in lines:
        draw.text((EDGE_PX, y), line, font=font(17), fill=WARNING_RGB)
        y += 22
