"""How the fleet's story is told, and its clock."""

import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

FOLDER = Path("build/fleet").absolute()
console = Console(highlight=False)
begun_s = time.monotonic()


def say(text: str) -> None:
    """With the time since the start."""
    console.print(f"[dim]{time.monotonic() - begun_s:4.0f} s[/dim]  {text}")


def until(condition: Callable[[], object], what: str, *, patience_s: float = 240, every_s: float = 0.5) -> None:
    """Wait."""
    give_up_at = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > give_up_at:
            raise SystemExit(f"Waited {patience_s:.0f} s in vain for {what}; the logs are in {FOLDER}.")
        time.sleep(every_s)
