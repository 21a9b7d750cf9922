"""Take the pictures of the documentation, all of phantoms: the report, the worklist, the page of a study."""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from reading_room import send_all
from servers import node

PICTURES = Path(__file__).parents[1] / "docs/images"
CHROMIUM = "/usr/bin/chromium"
SCREEN = {"width": 1366, "height": 900}


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        with tempfile.TemporaryDirectory() as folder, node(Path(folder) / "node", "\n[arrival]\nquiet_s = 1\n") as running:
            uids = send_all(running, Path(folder) / "sent")
            take(browser, running.url, "worklist.png", height=640)
            take(browser, f"{running.url}/studies/{uids['worst']}", "study.png")
            reading = running.study(uids["worst"])["readings"][0]["id"]
            take(browser, f"{running.url}/readings/{reading}/report.html", "report.png")
        browser.close()


def take(browser: Browser, address: str, name: str, *, height: int = SCREEN["height"]) -> None:
    """Show a page and keep what fits on a screen."""
    page = browser.new_page(viewport=SCREEN | {"height": height}, color_scheme="dark")
    page.goto(address)
    page.wait_for_function("[...document.images].every(image => image.complete)")
    page.screenshot(path=PICTURES / name)
    page.close()


if __name__ == "__main__":
    main()
