"""What the verbs have in common: faults become a sentence and an exit status, and a stop leaves nothing behind."""

import contextlib
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

from pneumoscope.errors import Interrupted, NoEligibleSeries, PneumoscopeError

_interrupts: list[int] = []  # signals that asked us to stop


def interrupt(number: int, _frame: object) -> NoReturn:
    """Handle a signal that asks us to stop."""
    _interrupts.append(number)
    raise KeyboardInterrupt


@contextlib.contextmanager
def told(*, as_json: bool, undone: str = "Not done") -> Iterator[None]:
    """Say what went wrong in one sentence with its code, after ``undone``, and leave with the status of the error."""
    try:
        yield
    except (KeyboardInterrupt, ImportError):
        if not _interrupts:  # a stop while an extension module is imported comes out as an ImportError
            raise
        _leave(Interrupted("Stopped; nothing was written."), as_json=as_json, undone=undone)
    except PneumoscopeError as fault:
        _leave(fault, as_json=as_json, undone=undone)


def _leave(fault: PneumoscopeError, *, as_json: bool, undone: str) -> NoReturn:
    reasons = fault.reasons if isinstance(fault, NoEligibleSeries) else ()
    if as_json:
        document = {"error": fault.code, "message": str(fault), "reasons": [{"code": c, "text": t} for c, t in reasons]}
        print(json.dumps(document, ensure_ascii=False))
    else:
        from rich.console import Console
        from rich.markup import escape

        console = Console(stderr=True, soft_wrap=True, highlight=False)
        console.print(f"[bold red]{undone}[/] ({fault.code}): {escape(str(fault))}")
        for code, text in reasons[1:6]:
            console.print(f"  another series ({code}): {text}", markup=False)
        if len(reasons) > 6:
            console.print(f"  and {len(reasons) - 6} more series", markup=False)
    sys.stdout.flush()
    if isinstance(fault, Interrupted):  # at once: no waiting for threads or children that are in the middle of something
        for child in multiprocessing.active_children():
            child.kill()
        os._exit(fault.exit_status)
    raise SystemExit(fault.exit_status)
