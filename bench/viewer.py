"""How long a viewer takes from its address to the first image, to the segmentation, and to all images, on this machine.

    python bench/viewer.py [--slices 300] [--runs 3] [--look 5]

A phantom of 512 x 512 is read by a node on this machine, and opened in Chromium, which draws by software here: with a graphics
card the browser's own part is shorter. `first` is a browser that was never here and is given the viewer's address, `later` the
same one again, with the cache on disk that a reader's browser has. `by page` is a browser that was never here, on the page of
the study: once the browser makes the viewer ready, the page is looked at for so long, and the link to the images followed. An
image is there when its pixels are seen. Scrolling is timed once all images are there: from a turn of the wheel to the next
image drawn with its segmentation, in the median and at most. Other work on the machine counts; its load is printed beside the
figures.
"""

import argparse
import os
import re
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
from playwright.sync_api import BrowserContext, Page, sync_playwright
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "acceptance"))

from test_viewer import ARGUMENTS, QUIET, lesion_pixels

from looks import CHROMIUM
from pneumoscope.node import viewer
from pneumoscope.output import write_all
from pneumoscope.phantom import SAMPLE, Order, dicom_parcels, render
from servers import node, wait_for
from tabs import NOTE_PAINTED, chromium_tab

PATIENCE_MS = 600_000
#: Of the wheel, from the middle of the lungs.
TURNS = 60
NOTE_TURNS = """() => {
  const [viewport] = window.cornerstone.getRenderingEngines()[0].getViewports();
  let turned = 0;
  window.turns_ms = [];
  addEventListener("wheel", () => { turned = performance.now(); }, { capture: true });
  viewport.element.addEventListener("CORNERSTONE_IMAGE_RENDERED", () => {
    if (turned) window.turns_ms.push(performance.now() - turned);
    turned = 0;
  });
}"""


def seconds_of(context: BrowserContext, url: str, slices: int) -> dict[str, float]:
    page = context.new_page()
    arrived = []
    page.on("requestfinished", lambda request: arrived.append(time.monotonic()) if "/frames/" in request.url else None)
    begun, begun_at = time.monotonic(), time.time()
    page.goto(url, wait_until="commit")
    page.wait_for_function("window.paintedAt", timeout=PATIENCE_MS)
    first = page.evaluate("window.paintedAt") / 1000 - begun_at
    page.get_by_text(re.compile(rf"\(\d+/{slices}\)")).first.wait_for(timeout=PATIENCE_MS)  # the right series
    while lesion_pixels(page).sum() <= 20:
        page.wait_for_timeout(50)
    drawn = time.monotonic() - begun
    seen = -1
    while seen != len(arrived) or time.monotonic() - arrived[-1] < 2:
        seen = len(arrived)
        page.wait_for_timeout(200)
    turns_ms = scrolled_ms(page)
    page.close()
    return {
        "first image": first,
        "segmentation": drawn,
        "all images": arrived[-1] - begun,
        "frames fetched": len(arrived),
        "scrolling": float(np.median(turns_ms)),
        "at most": max(turns_ms),
    }


def scrolled_ms(page: Page) -> list[float]:
    """From each turn of the wheel to the next image, with the segmentation over it."""
    page.evaluate(NOTE_TURNS)
    page.mouse.move(700, 400)
    for number in range(TURNS):
        page.mouse.wheel(0, 100)
        page.wait_for_function(f"window.turns_ms.length > {number}", timeout=PATIENCE_MS)
    return list(page.evaluate("window.turns_ms"))


def by_page_s(profile: Path, page: str, *, look_s: float) -> float:
    """From the click on the page of a study to the first image, seconds."""
    with chromium_tab(profile, ARGUMENTS + QUIET) as tab:
        tab.open(page)
        wait_for(lambda: tab.evaluate_ready("true"), what="the viewer to be made ready")
        time.sleep(look_s)
        tab.evaluate_ready(NOTE_PAINTED)
        clicked = time.time()
        tab.evaluate("document.querySelector('.ahead').click()")
        wait_for(lambda: tab.evaluate("window.paintedAt"), seconds=PATIENCE_MS / 1000, what="the image", every_s=0.1)
        return float(tab.evaluate("window.paintedAt")) / 1000 - clicked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--look", type=float, default=5.0, metavar="SECONDS", help="at the page of the study, before the click")
    given = parser.parse_args()
    viewer.install()
    table = Table(
        "visit", "load", "first image, s", "segmentation, s", "all images, s", "frames fetched", "scrolling, ms", "at most, ms"
    )
    with tempfile.TemporaryDirectory() as name, node(Path(name) / "site", "\n[arrival]\nquiet_s = 3\n") as running:
        spec = replace(SAMPLE, slices=given.slices, slice_spacing_mm=300 / given.slices, slice_thickness_mm=1.5)
        write_all(dicom_parcels(render(spec), order=Order.HEAD_FIRST), Path(name) / "study")
        running.send(Path(name) / "study")
        (study,) = wait_for(lambda: [s for s in running.studies() if s["state"] == "read"], seconds=1800, every_s=1)
        uid = study["StudyInstanceUID"]
        url = f"{running.url}/viewer/viewer?StudyInstanceUIDs={uid}"
        begun = time.monotonic()
        httpx.get(f"{running.url}/dicom-web/studies/{uid}/metadata", timeout=600).raise_for_status()
        Console().print(f"headers of {given.slices} images, first asked for: {time.monotonic() - begun:.2f} s")
        with sync_playwright() as playwright:
            for number in range(given.runs):
                context = playwright.chromium.launch_persistent_context(
                    Path(name) / f"profile {number}",
                    executable_path=CHROMIUM,
                    args=ARGUMENTS + QUIET,
                    viewport={"width": 1366, "height": 768},
                )
                context.add_init_script(NOTE_PAINTED)
                for kind in ("first", "later", "later"):
                    load = os.getloadavg()[0]
                    found = seconds_of(context, url, given.slices)
                    table.add_row(f"{number + 1} {kind}", f"{load:.1f}", *(f"{value:.1f}" for value in found.values()))
                context.close()
        for number in range(given.runs):
            load = os.getloadavg()[0]
            first_s = by_page_s(Path(name) / f"page {number}", f"{running.url}/studies/{uid}", look_s=given.look)
            table.add_row(f"{number + 1} by page", f"{load:.1f}", f"{first_s:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
