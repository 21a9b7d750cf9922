"""The check as an operator sees it."""

from collections.abc import Iterable

from rich.console import Console
from rich.live import Live
from rich.table import Table

from pneumoscope.node.check import Line, Verdict

_STYLES = {Verdict.GOOD: "green", Verdict.LOOK: "yellow", Verdict.WRONG: "bold red"}


def print_check(lines: Iterable[Line]) -> int:
    """Show lines as they come; returns how many are wrong."""
    table = Table(box=None, pad_edge=False)
    for title in ("", "what", "found"):
        table.add_column(title, overflow="fold")
    wrong = 0
    with Live(table, console=Console(), refresh_per_second=8):
        for line in lines:
            table.add_row(f"[{_STYLES[line.verdict]}]{line.verdict}[/]", line.title, line.text)
            wrong += line.verdict is Verdict.WRONG
    return wrong
