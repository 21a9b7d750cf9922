"""How a node joins a fleet: by a one-time token that says where the hub is and how it is known."""

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from pydantic import BaseModel, ValidationError

from pneumoscope.config import Settings
from pneumoscope.errors import OperatorNeeded, Rejected, RetryLater
from pneumoscope.fleet.token import Token
from pneumoscope.member import membership
from pneumoscope.member.line import client, reaching, whole
from pneumoscope.member.model import default_model
from pneumoscope.store import Database, audit, now, service

_REFUSED = (400, 401, 403, 404, 409, 410, 422)
#: Codes of the hub's answer.
_WHY = {"token-used": "it was used before", "token-expired": "its time is over"}


@dataclass(frozen=True, kw_only=True)
class Joined:
    """What came of it. ``mode``: what becomes of readings now; ``fresh``: the node was in no fleet before."""

    title: str
    province: str
    certificate_ends_at: datetime
    mode: str
    fresh: bool

    def told(self) -> str:
        """What became of it, in words."""
        modes = {
            "shadow": "It reads in shadow: nothing is shown or delivered until two people release the model.",
            "live": "Its readings are shown and delivered as before.",
            "stopped": "Its model is out of service, as before.",
        }
        again = "" if self.fresh else " again"
        return (
            f"This node is {self.title}, {self.province}, in the fleet{again}. {modes[self.mode]} Its certificate holds until "
            f"{self.certificate_ends_at:%Y-%m-%d} and is renewed by itself while the node runs."
        )


class _Answer(BaseModel):
    site: str
    title: str
    province: str
    certificate: str
    authority: str
    reports_url: str


def join(settings: Settings, word: str, *, keep_live: bool = False) -> Joined:
    """Join the fleet that a token is of, or again with a new one; what the node keeps stays. Raises Rejected, RetryLater."""
    token = Token.parse(word)
    place = membership.folder(settings)
    key = membership.load_key(place)
    authority = _authority(token, proxy=settings.fleet.proxy)
    pinned = place / ".authority-of-token.pem"
    membership.write(pinned, authority.encode())
    try:
        answer = _ask(token, membership.request(key), pinned, proxy=settings.fleet.proxy)
    finally:
        pinned.unlink(missing_ok=True)
    try:
        certificate = x509.load_pem_x509_certificate(answer.certificate.encode())
        of_ours = (
            certificate.public_key() == key.public_key() and membership.fingerprint(answer.authority) == token.authority_sha256
        )
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(answer.authority.encode()))
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as fault:
        raise RetryLater("The hub gave certificates that cannot be read or checked.", code="hub-answer") from fault
    if not of_ours or not answer.reports_url.startswith("https://"):
        raise RetryLater(
            "The hub gave a certificate that is not of this node's key or of another authority.", code="hub-answer"
        )
    fresh = not membership.is_member(settings)
    facts = membership.Facts(
        joined_at=now() if fresh else _joined_at(settings), **answer.model_dump(exclude={"certificate", "authority"})
    )
    mode = _begin(settings, title=answer.title, keep_live=keep_live)
    membership.keep(place, facts, certificate=answer.certificate, authority=answer.authority)
    return Joined(
        title=answer.title,
        province=answer.province,
        certificate_ends_at=certificate.not_valid_after_utc,
        mode=mode,
        fresh=fresh,
    )


def _joined_at(settings: Settings) -> datetime:
    try:
        found = membership.load(settings)
    except OperatorNeeded:
        found = None
    return found.facts.joined_at if found else now()


def _begin(settings: Settings, *, title: str, keep_live: bool) -> str:
    """The node's readings are in shadow from here on, unless it shall go on as it was; before any report could say so."""
    database = Database(settings.database_url)
    try:
        model = default_model(settings)
        with database.begin() as db:
            if not keep_live:
                service.begin(db, model=model, actor="join", reason=f"The node joined the fleet as {title}.")
            kept = " Readings go on being shown." if keep_live else ""
            audit.record(db, action="fleet", actor="join", detail=f"The node joined the fleet as {title}.{kept}")
            return service.current(db, model).mode.value
    finally:
        database.close()


def _authority(token: Token, *, proxy: str) -> str:
    """The hub's CA certificate, from whoever answers: believed by its fingerprint alone."""
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE
    with reaching(), client(anyone, proxy=proxy) as http, http.stream("GET", token.authority_url) as answer:
        content = whole(answer) if answer.status_code == httpx.codes.OK else b""
    try:
        pem = content.decode("ascii")
        found = membership.fingerprint(pem)
    except ValueError:
        raise RetryLater("What answers gives no certificate; wanted is the hub's.", code="hub-answer") from None
    if found != token.authority_sha256:
        raise Rejected(
            f"What answers has an authority with fingerprint {found[:16]}...; the token says {token.authority_sha256[:16]}.... "
            "Someone may be in between: nothing was sent.",
            code="hub-not-genuine",
        )
    return pem


def _ask(token: Token, csr: str, authority: Path, *, proxy: str) -> _Answer:
    body = {"secret": token.secret, "csr": csr}
    with (
        reaching(),
        client(membership.tls(authority), proxy=proxy) as http,
        http.stream("POST", token.join_url, json=body) as got,
    ):
        status, content = got.status_code, whole(got)
    if status in _REFUSED:
        why = next((text for code, text in _WHY.items() if code.encode() in content), "it is not one of its own")
        raise Rejected(
            f"The hub does not take the token: {why}. `pneumoscope hub invite` makes another, there.", code="token-refused"
        )
    try:
        if status not in (200, 201):
            raise ValueError
        return _Answer.model_validate_json(content)
    except (ValidationError, ValueError):
        raise RetryLater(f"The hub gave status {status} and no certificate; try again later.", code="hub-answer") from None
