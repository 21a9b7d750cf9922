"""What becomes of a reading by the model in service: filed while it is live, held while it is not, and observed in any case."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from pneumoscope.fleet.messages import Mode, Role
from pneumoscope.records import Category, Priority
from pneumoscope.store import now, observations, readings
from pneumoscope.store.observations import ANSWERS, Observed
from pneumoscope.store.service import Service

#: Why a reading is held, by the mode of the model in service.
HELD = {
    Mode.SHADOW: (
        "shadow-mode",
        "The study was read. The model in service has not been released at this site, so that nothing of it is shown or sent.",
    ),
    Mode.STOPPED: (
        "model-stopped",
        "The study was read. The model in service was taken out of service, so that nothing of it is shown or sent.",
    ),
}


def hold(db: sa.Connection, reading_id: str, answer: Mapping[str, Any], service: Service) -> bool:
    """Close a reading without showing what it found."""
    code, message = HELD[service.mode]
    found = answer["summary"]
    return readings.hold(db, reading_id, code=code, message=message, model=found["model"], device_uid=found["device_uid"])


def observe(
    db: sa.Connection, row: sa.RowMapping, answer: Mapping[str, Any], service: Service, *, role: Role = Role.PRESENT
) -> None:
    """Keep what a model made of a study. ``row``: of the reading; ``answer``: of the reader, or an outcome and a code."""
    summary = answer.get("summary") or {}
    model = service.candidate if role is Role.CANDIDATE else service.model
    observations.record(
        db,
        Observed(
            reading_id=row["id"],
            StudyInstanceUID=row["StudyInstanceUID"],
            model=summary.get("model") or model,
            device_uid=summary.get("device_uid", ""),
            role=role,
            mode=service.mode,
            outcome=answer["outcome"],
            code=answer.get("code", ""),
            probability=summary.get("probability"),
            category=ANSWERS[Category(summary["category"])] if summary else None,
            involved_share=summary.get("involved_share"),
            reading_s=answer.get("reading_s"),
            wait_s=_wait_s(db, row) if role is Role.PRESENT and summary else None,
            features=answer.get("features") or {},
        ),
    )


def _wait_s(db: sa.Connection, row: sa.RowMapping) -> float | None:
    """From the last image to now; None where nobody waited: for old studies, and for what was asked for once more."""
    if row["priority"] == Priority.BACKFILL or readings.asked_again(db, row["id"]):
        return None
    return round(max(0.0, (now() - row["last_image_at"]).total_seconds()), 3)
