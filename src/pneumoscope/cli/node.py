"""Verbs of the node as a whole: run it, check it, fill it, have it join a fleet."""

from pathlib import Path
from typing import Annotated

import typer

from pneumoscope.cli.options import Config
from pneumoscope.cli.people import tell_how_to_log_in
from pneumoscope.cli.telling import told

app = typer.Typer()


@app.command()
def serve(config: Config = None) -> None:
    """Run the node: DICOM listener, web server and workers, all on this machine, until stopped."""
    with told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.node.serve import address
        from pneumoscope.node.serve import serve as run

        settings = load_settings(config)
        listens = f"DICOM: {settings.dicom.ae_title} on port {settings.dicom.port}. Studies: {address(settings)}"

        def ready() -> None:
            print(f"The node is ready. {listens}", flush=True)
            tell_how_to_log_in(settings)

        run(settings, file=config, ready=ready)


@app.command()
def work(config: Config = None) -> None:
    """Run one more worker, here or on another machine that shares the node's database and folder, until stopped."""
    with told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.node.prepare import prepare
        from pneumoscope.worker.process import run

        settings = load_settings(config)
        prepare(settings)
        run(settings)


@app.command()
def check(config: Config = None) -> None:
    """Look whether the node can work: disk, model, database, clock, ports, certificates, peers. Exit status 4 if not."""
    with told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.errors import OperatorNeeded
        from pneumoscope.node.check import check as look
        from pneumoscope.node.screen import print_check

        if wrong := print_check(look(load_settings(config))):
            raise OperatorNeeded(f"{wrong} of these must be put right.", code="check-failed")


@app.command()
def viewer(
    archive: Annotated[
        Path | None, typer.Argument(help="The viewer's archive, where it was fetched before.", exists=True, dir_okay=False)
    ] = None,
) -> None:
    """Put the viewer of images beside the node: fetched once from the npm registry, and checked."""
    with told(as_json=False):
        from pneumoscope.node.viewer import install, pinned

        fresh = install(archive)
        print(f"The viewer is in place: OHIF {pinned().version}{'' if fresh else ', as before'}.")


@app.command()
def backfill(
    folder: Annotated[Path | None, typer.Argument(help="Folder of old studies, which is left as it is.")] = None,
    pacs: Annotated[str | None, typer.Option("--pacs", help="Or a PACS that the settings name.")] = None,
    since: Annotated[str, typer.Option("--since", help="From this study date on, YYYYMMDD.")] = "",
    until: Annotated[str, typer.Option("--until", help="Up to this study date, YYYYMMDD.")] = "",
    config: Config = None,
) -> None:
    """Bring old studies to a running node, never before new ones; goes on where it stopped."""
    if (folder is None) == (pacs is None):
        raise typer.BadParameter("give a folder or --pacs")
    with told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.node.backfill import run
        from pneumoscope.progress import case_bar

        with case_bar("taking in old studies") as step:
            sentence = run(load_settings(config), folder=folder, pacs=pacs, since=since, until=until, progress=step)
        print(sentence)


@app.command()
def join(
    token: Annotated[str, typer.Argument(help="What `pneumoscope hub invite` printed.")],
    keep_live: Annotated[
        bool, typer.Option("--keep-live", help="A node that serves already goes on showing its readings.")
    ] = False,
    config: Config = None,
) -> None:
    """Join a fleet by a one-time token, or again by a new one; its model reads in shadow then, until two people release it."""
    with told(as_json=False):
        from pneumoscope.config import load_settings
        from pneumoscope.member.joining import join as enter
        from pneumoscope.node.prepare import prepare

        settings = load_settings(config)
        prepare(settings)
        print(enter(settings, token, keep_live=keep_live).told())
