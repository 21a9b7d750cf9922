"""What browsers say to one another through a room. Coordinates are pixels of the image, from its upper left corner."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

Uid = Annotated[str, Field(max_length=64, pattern=r"^[0-9]+(\.[0-9]+)*$")]
Pixel = Annotated[float, Field(ge=-100_000, le=100_000, allow_inf_nan=False)]
Hu = Annotated[float, Field(ge=-100_000, le=100_000, allow_inf_nan=False)]
MarkId = Annotated[str, Field(pattern=r"^[0-9a-f-]{8,36}$")]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _OnImage(_Message):
    instance: Uid
    frame: Annotated[int, Field(ge=1, le=100_000)]


class State(_OnImage):
    """What is looked at, and how; ``x`` and ``y`` are in the middle of the view."""

    kind: Literal["state"]
    series: Uid
    centre: Hu
    width: Annotated[float, Field(ge=1, le=200_000, allow_inf_nan=False)]
    zoom: Annotated[float, Field(ge=0.1, le=50, allow_inf_nan=False)]
    x: Pixel
    y: Pixel


class Pointer(_OnImage):
    """Where someone points; nowhere without ``x`` and ``y``."""

    kind: Literal["pointer"]
    x: Pixel | None
    y: Pixel | None


class Mark(_OnImage):
    """What someone draws."""

    kind: Literal["mark"]
    id: MarkId
    shape: Literal["line", "ellipse", "arrow"]
    x1: Pixel
    y1: Pixel
    x2: Pixel
    y2: Pixel
    text: Annotated[str, Field(max_length=200)]


class Unmark(_Message):
    """A mark is taken away by who drew it."""

    kind: Literal["unmark"]
    id: MarkId


class Chat(_Message):
    """What someone writes; kept nowhere."""

    kind: Literal["chat"]
    text: Annotated[str, Field(min_length=1, max_length=1000)]


class Presence(_Message):
    """Whether someone looks at images of their own, and can be heard and seen."""

    kind: Literal["presence"]
    apart: bool
    microphone: bool
    camera: bool


class Description(_Message):
    """WebRTC: a session description."""

    type: Literal["offer", "answer"]
    sdp: Annotated[str, Field(max_length=50_000)]


class Candidate(_Message):
    """WebRTC: a way to a browser."""

    candidate: Annotated[str, Field(max_length=2000)]
    sdpMid: Annotated[str, Field(max_length=100)] | None = None
    sdpMLineIndex: Annotated[int, Field(ge=0, le=1000)] | None = None
    usernameFragment: Annotated[str, Field(max_length=300)] | None = None


class Rtc(_Message):
    """WebRTC signalling, for one of the others."""

    kind: Literal["rtc"]
    to: int
    description: Description | None = None
    candidate: Candidate | None = None


Message = State | Pointer | Mark | Unmark | Chat | Presence | Rtc
_ADAPTER: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


def parse(text: str) -> Message:
    """Raises pydantic's ValidationError, a ValueError, for whatever else it is."""
    return _ADAPTER.validate_json(text)
