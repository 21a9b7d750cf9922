"""A tab of a real Chromium, driven by DevTools from the tab itself: where a driver holds on to a page, as Playwright does,
Chromium makes no page ready ahead."""

import json
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from looks import CHROMIUM
from servers import free_port, wait_for

ANSWER_S = 60
SESSION_NOT_FOUND = -32001
#: Notes when the middle of the view first holds an image: words over it are there earlier.
NOTE_PAINTED = """(() => {
  const side = 32, pen = new OffscreenCanvas(side, side).getContext("2d", { willReadFrequently: true });
  const look = () => {
    const canvas = document.querySelector(".cornerstone-canvas");
    if (canvas?.width > 0 && canvas.height > 0) {
      pen.clearRect(0, 0, side, side);
      pen.drawImage(canvas, 0, 0, side, side);
      const middle = pen.getImageData(side / 4, side / 4, side / 2, side / 2).data;
      if (middle.filter((value, at) => at % 4 === 0 && value > 60).length > 20) {
        window.paintedAt = Date.now();
        return;
      }
    }
    setTimeout(look, 20);
  };
  look();
})()"""


class PageGoneError(Exception):
    """The page went while it was asked."""


class Tab:
    """What a tab shows, and what it holds ready."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._last = 0
        self._sessions: dict[str, str] = {}  # of pages, by target
        self._ready: set[str] = set()  # targets that nobody sees yet
        (tab,) = self._call("Target.getTargets", filter=[{"type": "tab"}])["targetInfos"]
        self._tab = self._call("Target.attachToTarget", targetId=tab["targetId"], flatten=True)["sessionId"]
        self._call("Target.setAutoAttach", self._tab, autoAttach=True, waitForDebuggerOnStart=False, flatten=True)

    def open(self, url: str) -> None:
        """Go to a page."""
        (shown,) = self._sessions.values()
        self._call("Page.navigate", shown, url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page that is shown, once it is a promise no longer; None between two pages."""
        self._call("Target.getTargets")  # what happened meanwhile is taken note of
        shown = [session for target, session in self._sessions.items() if target not in self._ready]
        return self._evaluate(shown[0], expression) if len(shown) == 1 else None

    def evaluate_ready(self, expression: str) -> Any:
        """The same in the page that is held ready; None where there is none."""
        self._call("Target.getTargets")
        found = [session for target, session in self._sessions.items() if target in self._ready]
        return self._evaluate(found[-1], expression) if found else None

    def _evaluate(self, session: str, expression: str) -> Any:
        given = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        try:
            return self._call("Runtime.evaluate", session, **given)["result"].get("value")
        except PageGoneError:
            return None

    def _call(self, method: str, session: str = "", /, **given: object) -> dict[str, Any]:
        self._last += 1
        command = {"id": self._last, "method": method, "params": given} | ({"sessionId": session} if session else {})
        self._connection.send(json.dumps(command))
        while True:
            told = json.loads(self._connection.recv(timeout=ANSWER_S))
            if told.get("id") == self._last:
                if told.get("error", {}).get("code") == SESSION_NOT_FOUND:
                    raise PageGoneError
                assert "error" not in told, told["error"]
                return dict(told["result"])
            self._note(told.get("method", ""), told.get("params", {}))

    def _note(self, method: str, told: dict[str, Any]) -> None:
        info = told.get("targetInfo", {})
        if method == "Target.attachedToTarget" and info["type"] == "page":
            self._sessions[info["targetId"]] = told["sessionId"]
        if method == "Target.detachedFromTarget":
            gone = [target for target, session in self._sessions.items() if session == told["sessionId"]]
            for target in gone:
                del self._sessions[target]
        if method in ("Target.attachedToTarget", "Target.targetInfoChanged"):
            (self._ready.add if info.get("subtype") == "prerender" else self._ready.discard)(info["targetId"])


@contextmanager
def chromium_tab(profile: Path, arguments: Sequence[str]) -> Iterator[Tab]:
    """The one tab of a browser of its own, which keeps what it caches in the folder ``profile``."""
    port = free_port()
    given = [f"--remote-debugging-port={port}", f"--user-data-dir={profile}", "--window-size=1366,768"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = [CHROMIUM, "--headless=new", "--no-first-run", *given, *arguments, "about:blank"]
    browser = subprocess.Popen(command, **silent)
    try:
        url = wait_for(lambda: _devtools(port), what="the browser")
        with connect(url, max_size=None) as connection:
            yield Tab(connection)
    finally:
        browser.terminate()
        browser.wait()


def _devtools(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/version") as answer:
            return str(json.load(answer)["webSocketDebuggerUrl"])
    except OSError:
        return ""
