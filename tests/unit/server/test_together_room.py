"""Rooms: who is told what, whose marks are whose, what is refused."""

import json

import pytest

from pneumoscope.server.together.messages import Message, parse
from pneumoscope.server.together.room import AT_ONCE, MOST_MARKS, MOST_WAITING, SEATS, Close, Person, Room, Rooms, Seat

IMAGE = {"instance": "1.2.3", "frame": 1}
STATE = {"kind": "state", "series": "1.2", **IMAGE, "centre": -600, "width": 1500, "zoom": 1, "x": 256, "y": 256.5}
MARK = {"kind": "mark", "id": "0" * 32, **IMAGE, "shape": "line", "x1": 1, "y1": 2, "x2": 3, "y2": 4, "text": "결절?"}


def say(content: dict) -> Message:
    return parse(json.dumps(content))


def person(identity: str, *, tab: str = "00000001", is_host: bool = False) -> Person:
    return Person(identity=identity, name=f"Dr {identity}", is_host=is_host, tab=tab)


def heard(seat: Seat) -> list[dict]:
    """What has come since it was last asked."""
    found = []
    while seat.incoming.statistics().current_buffer_used:
        found.append(json.loads(seat.incoming.receive_nowait()))
    return found


@pytest.fixture
def room():
    made = Room()
    seats: list[Seat] = []

    def join(*given: object, **named: object) -> Seat | None:
        seat = made.join(person(*given, **named))
        if seat is not None:
            seats.append(seat)
        return seat

    yield made, join
    for seat in seats:
        seat.outgoing.close()
        seat.incoming.close()


def test_newcomers_are_told_how_things_stand_and_names_come_from_the_server(room) -> None:
    made, join = room
    kim = join("kim", is_host=True)
    made.take(kim, say(STATE))
    made.take(kim, say(MARK))
    lee = join("lee")
    welcome, people = heard(lee)
    assert welcome["state"] == {**STATE, "from": kim.number}
    assert welcome["marks"] == [{**MARK, "from": kim.number, "colour": kim.colour, "name": "Dr kim"}]
    assert [(one["name"], one["host"], one["apart"]) for one in people["people"]] == [
        ("Dr kim", True, False),
        ("Dr lee", False, False),
    ]
    assert lee.colour != kim.colour
    heard(kim)
    made.take(lee, say({"kind": "presence", "apart": True, "microphone": True, "camera": False}))
    (people,) = heard(kim)
    assert people["people"][1] | {"apart": True, "microphone": True, "camera": False} == people["people"][1]


def test_moves_have_one_order_for_all_and_pointers_and_signals_reach_whom_they_are_for(room) -> None:
    made, join = room
    kim, lee, han = (join(name) for name in ("kim", "lee", "han"))
    for seat in (kim, lee, han):
        heard(seat)
    made.take(kim, say(STATE))
    made.take(lee, say(STATE | {"zoom": 2}))
    for seat in (kim, lee, han):
        assert [(told["from"], told["zoom"]) for told in heard(seat)] == [(kim.number, 1), (lee.number, 2)]
    made.take(kim, say({"kind": "pointer", **IMAGE, "x": 1, "y": 2}))
    assert [len(heard(seat)) for seat in (kim, lee, han)] == [0, 1, 1]
    offer = {"kind": "rtc", "to": lee.number, "description": {"type": "offer", "sdp": "v=0"}}
    made.take(kim, say(offer))
    made.take(kim, say(offer | {"to": kim.number}))
    made.take(kim, say(offer | {"to": 99}))
    signal = {"kind": "rtc", "description": offer["description"], "from": kim.number}
    assert [heard(seat) for seat in (kim, lee, han)] == [[], [signal], []]


def test_marks_are_changed_and_taken_away_by_who_drew_them(room) -> None:
    made, join = room
    kim, lee, han = join("kim", is_host=True), join("lee"), join("han")
    made.take(lee, say(MARK))
    made.take(han, say(MARK | {"text": "of another"}))
    made.take(han, say({"kind": "unmark", "id": MARK["id"]}))
    assert [told["kind"] for told in heard(kim)][-1] == "mark"
    again = join("lee", tab="00000002")
    assert [mark["text"] for mark in heard(again)[0]["marks"]] == ["결절?"]
    made.take(again, say({"kind": "unmark", "id": MARK["id"]}))
    assert heard(lee)[-1] == {"kind": "unmark", "id": MARK["id"], "from": again.number}
    for number in range(MOST_MARKS + 5):
        made.take(lee, say(MARK | {"id": f"{number:032x}"}))
        for seat in (kim, lee, han, again):
            heard(seat)
    assert made.leave(again)
    assert len(heard(join("cho"))[0]["marks"]) == MOST_MARKS


def test_there_are_four_seats_and_a_page_that_comes_again_has_its_own(room) -> None:
    made, join = room
    seats = [join(str(number)) for number in range(SEATS)]
    assert sorted(seat.colour for seat in seats) == list(range(SEATS))
    assert join("one too many") is None
    back = join("2")
    assert (back.number, back.colour) == (seats[2].number, seats[2].colour)
    assert seats[2].why_closed is Close.TAKEN_OVER
    assert not made.leave(seats[2])
    assert join("someone else", tab="00000002") is None
    assert made.leave(seats[0])
    new = join("new")
    assert (new.number, new.colour) == (SEATS + 1, seats[0].colour)


def test_who_does_not_keep_up_or_floods_is_sent_away(room) -> None:
    made, join = room
    kim, lee = join("kim"), join("lee")
    for _ in range(MOST_WAITING + 1):
        made.take(kim, say({"kind": "chat", "text": "more"}))
        heard(kim)
    assert (kim.why_closed, lee.why_closed) == (None, Close.TOO_SLOW)
    moment_s = 1e9
    kim.may_speak(moment_s)
    assert [kim.may_speak(moment_s) for _ in range(int(AT_ONCE))].count(True) == AT_ONCE - 1
    assert not kim.may_speak(moment_s)
    assert kim.may_speak(moment_s + 1)


def test_a_room_lasts_as_long_as_someone_is_in_it() -> None:
    rooms = Rooms()
    kim = rooms.join("m", person("kim"))
    again = rooms.join("m", person("kim"))
    assert heard(again)[0]["room"] == heard(kim)[0]["room"]
    rooms.end("m")
    assert again.why_closed is Close.ENDED
    rooms.leave("m", again)
    rooms.leave("m", kim)  # the room is gone
    rooms.take("m", kim, say(STATE))
    rooms.end("m")
    later = rooms.join("m", person("kim"))
    assert later.number == 1
    assert heard(later)[0]["state"] is None
    rooms.leave("m", later)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "people", "people": []},
        {"kind": "welcome"},
        {"kind": "chat", "text": ""},
        {"kind": "chat", "text": "x" * 1001},
        {"kind": "chat", "text": "hello", "name": "Dr Other"},
        STATE | {"width": 0},
        STATE | {"zoom": 1e9},
        STATE | {"instance": "../1"},
        STATE | {"centre": "-600"},
        STATE | {"centre": float("nan")},
        MARK | {"shape": "text"},
        MARK | {"colour": 3},
        MARK | {"id": "<b>"},
        {"kind": "rtc", "to": 1, "description": {"type": "pranswer", "sdp": ""}},
        {"kind": "rtc", "to": "all"},
        [],
        "",
    ],
)
def test_other_messages_are_refused(wrong: object) -> None:
    with pytest.raises(ValueError):
        parse(json.dumps(wrong))
