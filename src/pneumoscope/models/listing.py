"""Bundles on the terminal."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from pneumoscope.models import Examination
from pneumoscope.models.library import Place


def print_places(places: Iterable[Place]) -> None:
    """One line for each bundle."""
    table = Table(box=None, pad_edge=False)
    for head in ("model", "version", "", "signed by", "state"):
        table.add_column(head)
    for place in places:
        found = place.examination
        state = f"[red]{found.fault.code}[/]" if found.fault else "[green]whole[/]"
        signer = found.signer.title if found.signer else ""
        name, version = (found.manifest.name, found.manifest.version) if found.manifest else (found.folder.name, "")
        table.add_row(name, version, "shipped" if place.shipped else "installed", signer, state)
    Console(highlight=False).print(table)


def print_examination(found: Examination) -> None:
    """Each check and how it ended."""
    console = Console(highlight=False, soft_wrap=True)
    if found.manifest:
        console.print(f"{found.manifest.name} {found.manifest.version}, Device UID {found.manifest.device_uid}")
    for check in found.checks:
        mark = "[red]no [/]" if check.fault else "[green]yes[/]" if check.done else "[dim]?  [/]"
        console.print(f"{mark} {check.title}")
    if found.signer:
        console.print(f"signed by {found.signer.title}")
