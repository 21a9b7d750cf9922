"""Take the picture of the sample study's report that the README shows: docs/images/report.png."""

from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent
REPORT = ROOT / "build/demo/result/report.html"
PICTURE = ROOT / "docs/images/report.png"
CHROMIUM = "/usr/bin/chromium"


def main() -> None:
    """Show the report in Chromium and keep what fits on a screen."""
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1366, "height": 900})
        page.goto(REPORT.as_uri())
        page.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    main()
