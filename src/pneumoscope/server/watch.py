"""Whether the server is up, whether the node is ready, and what it measures."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy.exc import SQLAlchemyError

from pneumoscope.errors import PneumoscopeError
from pneumoscope.server.desk import AtDesk, Desk
from pneumoscope.server.metrics import exposition
from pneumoscope.server.rights import Right, needs

router = APIRouter()


@router.get("/health")
async def health() -> Response:
    """The process is up; open to all, and so says nothing else."""
    return PlainTextResponse("up\n")


@router.get("/ready", dependencies=[needs(Right.MEASURE)])
def ready(desk: AtDesk) -> Response:
    """The node can take studies, read and send them; else why not."""
    reasons = [*_database(desk), *_files(desk)]
    if not reasons:
        living = desk.pulse.living()
        reasons = [f"No {kind} is running." for kind in ("receiver", "worker") if not living[kind]]
    return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)


@router.get("/metrics", dependencies=[needs(Right.MEASURE)])
def metrics(desk: AtDesk) -> Response:
    """Prometheus text."""
    return Response(exposition(desk), media_type=CONTENT_TYPE_LATEST)


def has_room(desk: Desk) -> bool:
    """Whether more of the disk is free than the watermark."""
    return desk.store.files.free_share() > desk.settings.disk.watermark


def _database(desk: Desk) -> list[str]:
    try:
        desk.store.database.ping()
    except (PneumoscopeError, SQLAlchemyError):
        return ["The database does not answer."]
    return []


def _files(desk: Desk) -> list[str]:
    try:
        desk.store.files.probe()
        room = has_room(desk)
    except (PneumoscopeError, OSError):
        return ["The file store cannot be written."]
    return [] if room else ["The disk is nearly full: less is free than the watermark."]
