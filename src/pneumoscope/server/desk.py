"""What every request needs at hand: settings, store, children, the beat, cached headers."""

import threading
from dataclasses import dataclass, field
from typing import Annotated, cast

import anyio
from fastapi import Depends, Request

from pneumoscope.config import Settings
from pneumoscope.server.access import Visitor
from pneumoscope.server.children import Children
from pneumoscope.server.headers import Headers
from pneumoscope.server.pulse import Pulse
from pneumoscope.store import Store


@dataclass(frozen=True, kw_only=True)
class Desk:
    """One for the whole application."""

    settings: Settings
    store: Store
    pulse: Pulse
    children: Children = field(default_factory=Children)
    headers: Headers = field(default_factory=Headers)
    #: Bodies that are taken at once; others wait, and hold up nothing but themselves.
    takers: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(8))
    #: What is to be anonymised is in memory whole.
    anonymising: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(2))
    #: Uploads of which more is to come, with the arrival that brought their last part.
    lingering: dict[str, str] = field(default_factory=dict)
    #: When what happens often was last noted, by visitor, action and study.
    noted: dict[tuple[Visitor, str, str], float] = field(default_factory=dict)


def desk_of(request: Request) -> Desk:
    """The desk of the application that serves ``request``."""
    return cast(Desk, request.app.state.desk)


AtDesk = Annotated[Desk, Depends(desk_of)]
