"""Style sheets and scripts of the pages; they hold nothing of anyone."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from pneumoscope.server.problems import Problem

FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
router = APIRouter()


@router.get("/static/{name}")
def static(name: str) -> Response:
    """One of them."""
    path = FOLDER / name
    if path.suffix not in _TYPES or path.parent != FOLDER or not path.is_file():
        raise Problem(404, "not-found", "There is no such file here.")
    return FileResponse(path, media_type=_TYPES[path.suffix], headers={"Cache-Control": "no-cache"})
