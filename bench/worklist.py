"""How long the worklist takes with ten thousand studies: the server's answer, and until the page can be used in Chromium.

    python bench/worklist.py [--studies 10000] [--times 20]

The server is the real one; its database is SQLite with a row and a reading for each study.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx
from playwright.sync_api import Page
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/unit/store"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/integration/server"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/acceptance"))

from server_node import make_store, start, stop
from test_worklist import add, crowd

import looks
from pneumoscope.store import Store

console = Console()
PLACES = {
    "first page": "/",
    "last page": "/?page=999999",
    "one name": "/?q=name7777",
    "signs": "/?category=sign of pneumonia of the COVID-19 pattern",
}
#: When the module that answers keys has run.
USABLE = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder))
        crowd(store.database, given.studies)
        process, url, _ = start(Path(folder))
        try:
            measure(store, url, studies=given.studies, times=given.times)
        finally:
            stop(process)
            store.database.close()


def measure(store: Store, url: str, *, studies: int, times: int) -> None:
    table = Table("page", "server, median ms", "usable in Chromium, median ms", "longest ms", title=f"{studies} studies")
    with looks.chromium() as browser:
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        for name, place in PLACES.items():
            answers, usable = [], []
            for _ in range(times):
                begun_s = time.perf_counter()
                assert httpx.get(url + place, timeout=60).status_code == 200
                answers.append((time.perf_counter() - begun_s) * 1000)
                page.goto(url + place, wait_until="load")
                usable.append(page.evaluate(USABLE))
            table.add_row(name, f"{statistics.median(answers):.0f}", f"{statistics.median(usable):.0f}", f"{max(usable):.0f}")
        page.goto(url)
        console.print(table, f"A change reaches an open page in {change_s(store, page, studies) * 1000:.0f} ms.")


def change_s(store: Store, page: Page, number: int) -> float:
    """From the commit in this process to the row on the page."""
    page.wait_for_timeout(1500)
    begun_s = time.perf_counter()
    with store.database.begin() as db:
        uid = add(db, number + 1, priority=1)
    page.locator(f"[id='s{uid}']").wait_for()
    return time.perf_counter() - begun_s


if __name__ == "__main__":
    main()
