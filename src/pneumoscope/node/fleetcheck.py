"""What ``check`` says of a node's fleet: the hub, the certificate, who puts models in service."""

import socket
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlsplit

from pneumoscope.config import Settings
from pneumoscope.fleet import orders
from pneumoscope.member import membership
from pneumoscope.member.line import client, reaching
from pneumoscope.member.membership import Membership
from pneumoscope.member.model import default_model
from pneumoscope.store import Database, now, service, tellings

#: (verdict, text); verdicts are those of ``check``.
Finding = tuple[str, str]
TIMEOUT_S = 5.0
#: The hub was not heard for so long although it can be reached: the member does not report.
SILENCE = timedelta(minutes=30)


def things(settings: Settings, database: Database) -> list[tuple[str, Callable[[], Finding]]]:
    """Each with its title; none where the node is in no fleet."""
    if not membership.is_member(settings):
        return []
    return [
        ("fleet", lambda: _fleet(settings, database)),
        ("hub", lambda: _hub(settings, _place(settings))),
        ("certificate of the fleet", lambda: _certificate(_place(settings))),
    ]


def _place(settings: Settings) -> Membership:
    found = membership.load(settings)
    assert found is not None
    return found


def _fleet(settings: Settings, database: Database) -> Finding:
    facts = _place(settings).facts
    with database.look() as db:
        state = service.current(db, default_model(settings))
        waiting = tellings.waiting(db)
    who = {"people": "two people here put a model of the hub in service", "hub": "the hub puts its models in service"}
    text = f"{facts.title}, {facts.province}: {state.model} is {state.mode}; {who[settings.fleet.promotion]}"
    text += f"; {waiting} windows wait for the hub." if waiting else "."
    for stop in orders.stops(settings.node.folder):
        if state.is_live and stop.model == state.model:
            return "wrong", f"{text} The hub asks that it be taken out of service: {stop.reason}"
    return ("good" if state.is_live else "look"), text


def _hub(settings: Settings, place: Membership) -> Finding:
    url = urlsplit(place.facts.reports_url)
    if settings.fleet.proxy:
        with reaching(), client(place.tls(), proxy=settings.fleet.proxy) as http:
            http.get(f"{place.facts.reports_url}/", timeout=TIMEOUT_S)
    else:
        address = (url.hostname or "", url.port or 443)
        with (
            reaching(),
            socket.create_connection(address, timeout=TIMEOUT_S) as plain,
            place.tls().wrap_socket(plain, server_hostname=url.hostname),
        ):
            pass
    last = membership.orders(place.folder)
    if last is None:
        return "look", f"{url.hostname} answers; no report was taken yet."
    if now() - last.now > SILENCE:
        return "look", f"{url.hostname} answers; the last report that it took was at {last.now:%Y-%m-%d %H:%M} UTC."
    return "good", f"{url.hostname} answers, and takes reports."


def _certificate(place: Membership) -> Finding:
    until = place.certificate_ends_at
    if place.days_left <= 0:
        return "wrong", (
            f"It held until {until:%Y-%m-%d}. The node reads on and is heard by nobody: have the hub's people make a token by "
            "`pneumoscope hub invite --again`, and give it to `pneumoscope join`."
        )
    late = place.days_left < place.alarm_at_days
    text = f"It holds until {until:%Y-%m-%d}; the node renews it by itself."
    return ("look" if late else "good"), f"{text} It should have been: can the hub be reached?" if late else text
