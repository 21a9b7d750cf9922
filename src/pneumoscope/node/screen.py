"""The check as an operator sees it."""

from collections.abc import Iterable
from contextlib import nullcontext

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from pneumoscope.node.check import Line, Verdict

_STYLES = {Verdict.GOOD: "green", Verdict.LOOK: "yellow", Verdict.WRONG: "bold red"}


def print_check(lines: Iterable[Line]) -> int:
    """Show lines as they come; returns how many are wrong."""
    table = Table(box=None, pad_edge=False)
    for title in ("", "what", "found"):
        table.add_column(title, overflow="fold")
    wrong, console = 0, Console()
    with Live(table, console=console, refresh_per_second=8) if console.is_terminal else nullcontext():
        for line in lines:
            table.add_row(f"[{_STYLES[line.verdict]}]{line.verdict}[/]", line.title, escape(line.text))
            wrong += line.verdict is Verdict.WRONG
    if not console.is_terminal:
        console.print(table)
    return wrong
