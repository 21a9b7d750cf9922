"""The node's web server: DICOMweb, upload, the list of studies, health and metrics. It never loads a model."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from pneumoscope.config import Settings
    from pneumoscope.store import Store

__all__ = ["make_app", "run"]

# Imported when called: the children that open other people's files import this package too, and need none of it.


def run(settings: "Settings") -> None:
    """Serve until asked to stop."""
    from pneumoscope.server.process import serve

    serve(settings)


def make_app(settings: "Settings", store: "Store") -> "FastAPI":
    """Make the application; it enrols as a process of the node when it starts."""
    from pneumoscope.server.app import build

    return build(settings, store)
