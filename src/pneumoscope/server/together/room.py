"""Who is in a meeting at present, and what they see.

It lives in the memory of the server; browsers that come again after a restart tell it anew.
"""

import json
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from pneumoscope.server.together.messages import Chat, Mark, Message, Presence, Rtc, State, Unmark

SEATS = 4
MOST_MARKS = 300
#: What waits for a browser that does not keep up; one that is further behind comes again and is told how things stand.
MOST_WAITING = 500
#: Messages of one browser; at once as many as one that comes again with all its marks.
PER_SECOND, AT_ONCE = 60.0, MOST_MARKS + 100.0
_AT_FIRST = Presence(kind="presence", apart=False, microphone=False, camera=False)


class Close(IntEnum):
    """Why the server closes a channel; the page knows these numbers."""

    ENDED = 4000
    FULL = 4001
    NOT_ALLOWED = 4003
    NO_SUCH_MEETING = 4004
    WRONG_MESSAGE = 4005
    TOO_FAST = 4006
    TOO_SLOW = 4007
    TAKEN_OVER = 4008


@dataclass(frozen=True, kw_only=True)
class Person:
    """Who joins, as the server knows them; ``tab`` is what their page calls itself, to come back as the same."""

    identity: str
    name: str
    is_host: bool
    tab: str


@dataclass(eq=False, kw_only=True)
class Seat:
    """One browser in a room. ``number`` is never given again; ``colour`` is, once it is free."""

    person: Person
    number: int
    colour: int
    outgoing: MemoryObjectSendStream[str]
    incoming: MemoryObjectReceiveStream[str]
    presence: Presence = _AT_FIRST
    why_closed: Close | None = None
    active: bool = False  # its person has done something since it was last asked
    _allowance: float = AT_ONCE
    _allowed_at_s: float = field(default_factory=time.monotonic)

    def may_speak(self, moment_s: float) -> bool:
        """Whether it keeps to the rate, with this message."""
        self._allowance = min(AT_ONCE, self._allowance + (moment_s - self._allowed_at_s) * PER_SECOND)
        self._allowed_at_s = moment_s
        self._allowance -= 1
        return self._allowance >= 0

    def tell(self, content: dict[str, Any]) -> None:
        """Put it in line, unless the seat is closed."""
        try:
            self.outgoing.send_nowait(json.dumps(content, ensure_ascii=False))
        except anyio.WouldBlock:
            self.close(Close.TOO_SLOW)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            pass  # it is about to leave

    def close(self, why: Close) -> None:
        """Nothing follows what is in line."""
        self.why_closed = self.why_closed or why
        self.outgoing.close()

    def described(self) -> dict[str, Any]:
        """As others see it."""
        about = {"number": self.number, "name": self.person.name, "colour": self.colour, "host": self.person.is_host}
        return about | self.presence.model_dump(exclude={"kind"})


class Room:
    """One meeting's seats. All is done in the server's event loop, so that nothing happens in between."""

    def __init__(self) -> None:
        self.key = secrets.token_hex(8)
        self.seats: list[Seat] = []
        self._number = 0
        self._state: dict[str, Any] | None = None
        self._marks: OrderedDict[str, tuple[str, dict[str, Any]]] = OrderedDict()  # by id: who drew it, and as it was told

    def join(self, person: Person) -> Seat | None:
        """A seat, told how things stand; None where all are taken. A page that comes back gets the seat that it had."""
        old = next(
            (seat for seat in self.seats if (seat.person.identity, seat.person.tab) == (person.identity, person.tab)), None
        )
        if old is None and len(self.seats) >= SEATS:
            return None
        if old is not None:
            self.seats.remove(old)
            old.close(Close.TAKEN_OVER)
            number, colour = old.number, old.colour
        else:
            self._number += 1
            number, colour = self._number, min(set(range(SEATS)) - {seat.colour for seat in self.seats})
        outgoing, incoming = anyio.create_memory_object_stream[str](MOST_WAITING)
        seat = Seat(person=person, number=number, colour=colour, outgoing=outgoing, incoming=incoming)
        self.seats.append(seat)
        marks = [content for _, content in self._marks.values()]
        seat.tell({"kind": "welcome", "room": self.key, "number": number, "state": self._state, "marks": marks})
        self._tell_presence()
        return seat

    def leave(self, seat: Seat) -> bool:
        """Free its seat; False where the same page has taken it over, or the room is a later one."""
        if seat not in self.seats:
            return False
        self.seats.remove(seat)
        self._tell_presence()
        return True

    def end(self) -> None:
        """Send everyone away."""
        for seat in self.seats:
            seat.close(Close.ENDED)

    def take(self, seat: Seat, message: Message) -> None:
        """Pass on what a seat says, under the name that the server knows it by."""
        seat.active = seat.active or not isinstance(message, Presence | Rtc)
        content = message.model_dump() | {"from": seat.number}
        match message:
            case Rtc(to=to):
                for other in self.seats:
                    if other.number == to and other is not seat:
                        other.tell(message.model_dump(exclude={"to"}, exclude_none=True) | {"from": seat.number})
                return
            case Presence():
                seat.presence = message
                self._tell_presence()
                return
            case State():
                self._state = content
                # the sender, too: all see moves in one order
                self._tell_all(content)
                return
            case Mark():
                content |= {"colour": seat.colour, "name": seat.person.name}
                if not self._keep(seat, message.id, content):
                    return
            case Unmark():
                owner, _ = self._marks.get(message.id, ("", {}))
                if owner != seat.person.identity:
                    return
                del self._marks[message.id]
            case Chat():
                content |= {"colour": seat.colour, "name": seat.person.name}
        # a pointer needs no answer, what is drawn and written is shown once the server has it
        self._tell_all(content, but=seat if content["kind"] == "pointer" else None)

    def _keep(self, seat: Seat, mark_id: str, content: dict[str, Any]) -> bool:
        owner, _ = self._marks.get(mark_id, (seat.person.identity, {}))
        if owner != seat.person.identity or (mark_id not in self._marks and len(self._marks) >= MOST_MARKS):
            return False
        self._marks[mark_id] = (seat.person.identity, content)
        return True

    def _tell_presence(self) -> None:
        self._tell_all({"kind": "people", "people": [seat.described() for seat in self.seats]})

    def _tell_all(self, content: dict[str, Any], *, but: Seat | None = None) -> None:
        for seat in self.seats:
            if seat is not but:
                seat.tell(content)


class Rooms:
    """Those with someone in them."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}

    def join(self, meeting_id: str, person: Person) -> Seat | None:
        """A seat in the meeting's room, which is made for the first."""
        return self._rooms.setdefault(meeting_id, Room()).join(person)

    def take(self, meeting_id: str, seat: Seat, message: Message) -> None:
        """Pass on what is said."""
        if (room := self._rooms.get(meeting_id)) is not None and seat in room.seats:
            room.take(seat, message)

    def leave(self, meeting_id: str, seat: Seat) -> None:
        """Free a seat; the last one to go takes the room along."""
        seat.outgoing.close()
        seat.incoming.close()
        room = self._rooms.get(meeting_id)
        if room is not None and room.leave(seat) and not room.seats:
            del self._rooms[meeting_id]

    def end(self, meeting_id: str) -> None:
        """Send everyone away."""
        if (room := self._rooms.get(meeting_id)) is not None:
            room.end()
