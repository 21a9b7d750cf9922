"""What every request needs at hand: settings, store, children, the beat, cached headers."""

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, cast

import anyio
from fastapi import Depends
from starlette.requests import HTTPConnection

from pneumoscope.children import Children
from pneumoscope.config import Settings
from pneumoscope.server.cookies import Jar
from pneumoscope.server.headers import Headers
from pneumoscope.server.live import Live
from pneumoscope.server.pulse import Pulse
from pneumoscope.server.together.room import Rooms
from pneumoscope.server.visitor import Visitor
from pneumoscope.store import Store

if TYPE_CHECKING:
    from pneumoscope.server.openid import Provider


@dataclass(frozen=True, kw_only=True)
class Desk:
    """One for the whole application."""

    settings: Settings
    store: Store
    pulse: Pulse
    live: Live
    jar: Jar
    #: Where people log in by OpenID Connect, if they may.
    provider: "Provider | None" = None
    children: Children = field(default_factory=Children)
    headers: Headers = field(default_factory=Headers)
    #: Where people read together; this process is the only server of the node.
    rooms: Rooms = field(default_factory=Rooms)
    #: Bodies that are taken at once; others wait, and hold up nothing but themselves.
    takers: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(8))
    #: What is to be anonymised is in memory whole.
    anonymising: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(2))
    #: Passwords that are looked at at once: they take all the memory and time that they get.
    doors: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(2))
    #: Uploads of which more is to come, with the arrival that brought their last part.
    lingering: dict[str, str] = field(default_factory=dict)
    #: When what happens often was last noted, by visitor, action and study.
    noted: dict[tuple[Visitor, str, str], float] = field(default_factory=dict)


def desk_of(request: HTTPConnection) -> Desk:
    """The desk of the application that serves ``request``, which may be a websocket."""
    return cast(Desk, request.app.state.desk)


AtDesk = Annotated[Desk, Depends(desk_of)]
