"""What a site says, made up."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pneumoscope.fleet.messages import (
    EDGES,
    Agreement,
    Answer,
    Health,
    Histogram,
    Mode,
    ModelWindow,
    Paired,
    Report,
    Role,
    Service,
    Window,
)

MODEL, NEW_MODEL = "lung-lesion 1.0.0", "lung-lesion 2.0.0"
DAY = timedelta(days=1)


def flat(name: str, **bins: int) -> Histogram:
    """A histogram that is empty but for ``b3=10``: bin 3 holds 10."""
    return Histogram(bins=tuple(bins.get(f"b{number}", 0) for number in range(len(EDGES[name]) + 1)))


def model_window(*, read: int = 40, sign: int | None = 10, **more: Any) -> ModelWindow:
    given: dict[str, Any] = {
        "model": MODEL,
        "device_uid": "2.25.1",
        "role": Role.PRESENT,
        "mode": Mode.LIVE,
        "read": read,
        "categories": {Answer.SIGN: sign, Answer.NO_SIGN: read - (sign or 3)},
        "score": flat("score", b8=sign or 0, b0=read - (sign or 0)),
        "involved_percent": flat("involved_percent", b5=5, b0=read - 5),
        "reading_s": flat("reading_s", b2=read),
        "agreement": Agreement(answers=20, agreed=18),
    }
    return ModelWindow(**given | more)


def candidate(*, pairs: int = 100, same: int = 95, model: str = NEW_MODEL, **more: Any) -> ModelWindow:
    paired = Paired(both=pairs, same_category=same, score_difference=flat("score_difference", b4=pairs))
    return model_window(read=pairs, role=Role.CANDIDATE, model=model, paired=paired, agreement=Agreement(), **more)


def window(start: datetime, *models: ModelWindow, studies: int | None = 40) -> Window:
    chosen = models or (model_window(),)
    return Window(start=start, end=start + DAY, studies=studies, wait_s=flat("wait_s", b1=40), models=chosen)


def midnight(*, days_ago: int = 0) -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - days_ago * DAY


def report(*windows: Window, model: str = MODEL, mode: Mode = Mode.LIVE, **more: Any) -> Report:
    moment = datetime.now(UTC)
    health = Health(ready=True, waiting=0, disk_free_share=0.5, certificate_days=80, software="0.1.0")
    service = Service(model=model, mode=mode, since=moment - DAY, candidate=more.pop("candidate", ""))
    return Report(sent_at=moment, health=health, service=service, windows=windows, **more)
