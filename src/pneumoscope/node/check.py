"""Tells an operator in one screen what is wrong with a node: each thing is looked at by itself, and nothing is changed."""

import ipaddress
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

import httpx
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from sqlalchemy.exc import SQLAlchemyError

from pneumoscope import tracing
from pneumoscope.config import AnyDestination, DicomDestination, Hl7Destination, Pacs, Sender, Settings, Tls
from pneumoscope.delivery.association import Peer, associate
from pneumoscope.delivery.connection import Tls as ClientTls
from pneumoscope.errors import PneumoscopeError
from pneumoscope.models import DEFAULT_BUNDLE, examine, trust
from pneumoscope.models.library import find
from pneumoscope.node import fleetcheck
from pneumoscope.node.serve import address
from pneumoscope.opening import open_files
from pneumoscope.receiver.admission import Rejection, admit, answer_tls
from pneumoscope.store import Database, accounts, audit, processes, service
from pneumoscope.store.files import free_share
from pneumoscope.store.schema import DeliveryState, StudyState, delivery, process, reading, study
from pneumoscope.worker.clock import ACTION as CLOCK_ACTION
from pneumoscope.worker.destinations import make_destination

CERTIFICATE_WARNING = timedelta(days=30)
CLOCK_TOLERANCE_S = 5.0
CLOCK_MEMORY = timedelta(days=1)
ECHO_TIMEOUT_S = 5.0
EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - where a listener listens on all addresses


class Verdict(StrEnum):
    """How a thing stands."""

    GOOD = "good"
    LOOK = "look"  # works, and will not for long, or not as meant
    WRONG = "wrong"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that was looked at."""

    title: str
    verdict: Verdict
    text: str


Finding = tuple[Verdict, str]


def check(settings: Settings) -> Iterator[Line]:
    """Look at everything, one thing after another."""
    database = Database(settings.database_url)
    kept = _is_kept(database)
    things: list[tuple[str, Callable[[], Finding]]] = [
        ("disk", lambda: _disk(settings)),
        ("file store", lambda: _files(settings)),
        ("model", lambda: _model(settings)),
        ("database", lambda: _database(database)),
        ("web port", lambda: _web(settings)),
        ("DICOM port", lambda: _listener(settings)),
    ]
    if kept:
        things += [
            ("service", lambda: _service(database, settings)),
            ("clock", lambda: _clock(database)),
            ("people", lambda: _people(database, settings)),
            ("processes", lambda: _processes(database, settings)),
            ("studies", lambda: _studies(database)),
            ("outbox", lambda: _outbox(database)),
        ]
    things += [
        *((("traces", lambda: (Verdict.GOOD, tracing.probe(settings.tracing))),) if settings.tracing.url else ()),
        *((title, lambda look=look: _of_fleet(look)) for title, look in fleetcheck.things(settings, database)),
        *((f"certificate {path.name}", lambda p=path, k=key: _certificate(p, k)) for path, key in _certificates(settings)),
        *((f"sender {each.ae_title}", lambda s=each: _sender(settings, s)) for each in settings.dicom.senders if each.port),
        *((f"PACS {each.name}", lambda p=each: _pacs(settings, p)) for each in settings.pacs if each.port),
        *((f"destination {each.name}", lambda d=each: _destination(settings, d)) for each in settings.destinations),
    ]
    for title, look in things:
        try:
            verdict, text = look()
        except PneumoscopeError as fault:
            verdict, text = Verdict.WRONG, f"{fault} ({fault.code})"
        except (OSError, SQLAlchemyError, ValueError) as fault:
            verdict, text = Verdict.WRONG, f"It cannot be looked at: {type(fault).__name__}."
        yield Line(title=title, verdict=verdict, text=text)
    database.close()


def _is_kept(database: Database) -> bool:
    """Whether there are tables; a node that was never started has none, and nothing is made by looking."""
    if _missing(database):
        return False
    try:
        with database.engine.connect() as db:
            return sa.inspect(db).has_table("study")
    except SQLAlchemyError:
        return False


def _missing(database: Database) -> bool:
    return database.is_sqlite and not Path(database.engine.url.database or "").exists()


def _of_fleet(look: Callable[[], fleetcheck.Finding]) -> Finding:
    verdict, text = look()
    return Verdict(verdict), text


def _disk(settings: Settings) -> Finding:
    folder = next(path for path in (settings.node.folder.absolute(), *settings.node.folder.absolute().parents) if path.exists())
    free, free_gb = free_share(folder), shutil.disk_usage(folder).free / 1e9
    text = f"{free:.0%} free, {free_gb:.0f} GB; below {settings.disk.watermark:.0%} nothing is received."
    if free < settings.disk.watermark:
        return Verdict.WRONG, text
    return (Verdict.LOOK if 1 - free > settings.disk.max_share else Verdict.GOOD), text


def _files(settings: Settings) -> Finding:
    if not settings.bucket.url and not settings.objects.exists():
        return Verdict.LOOK, "The folder is not made yet; the node makes it when it starts."
    return Verdict.GOOD, open_files(settings).probe()


def _model(settings: Settings) -> Finding:
    found = examine(find(settings.node.model) if settings.node.model else DEFAULT_BUNDLE, trust=trust())
    if found.fault:
        raise found.fault
    assert found.manifest is not None
    return (
        Verdict.GOOD,
        f"{found.manifest.name} {found.manifest.version}, signed by {found.signer.title if found.signer else '-'}.",
    )


def _database(database: Database) -> Finding:
    if _missing(database):
        return Verdict.LOOK, "It is not made yet; the node makes it when it starts."
    database.ping()
    with database.engine.connect() as db:
        there = sa.inspect(db).has_table("study")
    kind = "SQLite" if database.is_sqlite else "PostgreSQL"
    return (
        (Verdict.GOOD, f"{kind} answers.")
        if there
        else (Verdict.LOOK, f"{kind} answers and is empty: the node was never started.")
    )


def _service(database: Database, settings: Settings) -> Finding:
    """The model that was decided on, which may be another than that of the settings; and the one that is tried beside it."""
    with database.look() as db:
        found = service.current(db, "")
    for model in filter(None, (found.model, found.candidate)):
        examined = examine(_place(model, settings), trust=trust())
        if examined.fault:
            raise examined.fault
    beside = f", {found.candidate} is tried beside it" if found.candidate else ""
    text = f"{found.model or 'The model of the settings'} is {found.mode}{beside}."
    return (Verdict.GOOD if found.is_live else Verdict.LOOK), text


def _place(model: str, settings: Settings) -> Path:
    """Where a model of this title lies: the settings' own need not be installed."""
    own = find(settings.node.model) if settings.node.model else DEFAULT_BUNDLE
    manifest = examine(own, trust=trust()).manifest
    return own if manifest and model == f"{manifest.name} {manifest.version}" else find(model.replace(" ", "-"))


def _clock(database: Database) -> Finding:
    """Ours against the database server's, or against the newest row where the database is a file; and whether it was set."""
    moment = datetime.now(UTC)
    newest = stepped = None
    text = f"It is {moment:%Y-%m-%d %H:%M:%S} UTC."
    with database.look() as db:
        if not database.is_sqlite:
            off_s = abs((db.execute(sa.text("SELECT now()")).scalar_one() - moment).total_seconds())
            text = f"{off_s:.1f} s off the database server's; at most {CLOCK_TOLERANCE_S:.0f} s is right."
            if off_s > CLOCK_TOLERANCE_S:
                return Verdict.WRONG, text
        if sa.inspect(db).has_table("audit"):
            newest = db.execute(sa.select(sa.func.max(reading.c.created_at))).scalar()
            stepped = audit.latest(db, CLOCK_ACTION, since=moment - CLOCK_MEMORY)
    if newest and newest > moment + timedelta(seconds=CLOCK_TOLERANCE_S):
        return Verdict.WRONG, "The newest reading lies in the future: the clock was set back."
    return (Verdict.LOOK, f"{stepped} {text}") if stepped else (Verdict.GOOD, text)


def _web(settings: Settings) -> Finding:
    try:
        answer = httpx.get(f"{address(settings)}health", timeout=3, verify=False)  # noqa: S501 - our own server
    except httpx.HTTPError:
        return _free(settings.http.host, settings.http.port, "the node is not running")
    ours = answer.status_code == httpx.codes.OK
    return (
        (Verdict.GOOD, f"The node answers at {address(settings)}.")
        if ours
        else (Verdict.WRONG, "Something else answers there.")
    )


def _people(database: Database, settings: Settings) -> Finding:
    ways = {
        "local": "by password",
        "openid": "by OpenID Connect",
        "both": "by password or OpenID Connect",
        "none": "not at all",
    }
    text = f"People log in {ways[settings.people.ways]}."
    with database.look() as db:
        nobody = settings.people.by_password and not accounts.has_local(db)
    if nobody:
        return Verdict.LOOK, f"{text} Nobody has an account: `pneumoscope people add` makes one."
    if settings.http.host not in ("", "localhost", "127.0.0.1", "::1") and not settings.http.certificate:
        return Verdict.LOOK, f"{text} http.host is open to the network without TLS: passwords can be read on their way."
    return Verdict.GOOD, text


def _listener(settings: Settings) -> Finding:
    """Our own listener, which lets this machine in only where it is listed."""
    dicom = settings.dicom
    host = "127.0.0.1" if dicom.host in EVERYWHERE else dicom.host
    known = not isinstance(admit(dicom, calling=dicom.ae_title, called=dicom.ae_title, address=host), Rejection)
    try:
        return _echo(settings, dicom.ae_title, host, dicom.port, tls=_towards_ourselves(dicom.tls))
    except PneumoscopeError as fault:
        match fault.code:
            case "peer-refused" if not known:
                return Verdict.GOOD, f"Port {dicom.port} answers, and refuses this machine, which is not among dicom.senders."
            case "tls-failed" if dicom.tls.authorities:
                return Verdict.LOOK, f"Port {dicom.port} answers, and does not take our own certificate: {fault}"
            case "tls-files":
                raise
            case "peer-unreachable":
                return _free(dicom.host, dicom.port, "the node is not running")
        return Verdict.WRONG, f"What is on port {dicom.port} does not answer as this node: {fault} ({fault.code})"


def _towards_ourselves(tls: Tls) -> ClientTls | None:
    """Our certificate need not be for this address, nor of those that we trust."""
    trusted = tls.authorities or tls.certificate
    return replace(tls.as_client(), authorities=trusted, check_hostname=False) if tls.certificate else None


def _free(host: str, port: int, otherwise: str) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            return Verdict.WRONG, f"Port {port} needs more rights than this user has."
        except OSError:
            return Verdict.WRONG, f"Port {port} is taken, and what is there does not answer as a node."
    return Verdict.LOOK, f"Port {port} is free: {otherwise}."


def _sender(settings: Settings, sender: Sender) -> Finding:
    """Where it listens for answers to storage commitments."""
    hosts = [network.network_address for network in map(ipaddress.ip_network, sender.addresses) if network.num_addresses == 1]
    host = sender.host or (str(hosts[0]) if len(hosts) == 1 == len(sender.addresses) else "")
    if not host or sender.ae_title == "*":
        return Verdict.GOOD, f"It is answered at the address that it calls from, port {sender.port}."
    given = answer_tls(settings.dicom, sender)
    tls = given.as_client() if given else None
    return _at(host, sender.port, lambda: _echo(settings, sender.ae_title, host, sender.port, tls=tls))


def _pacs(settings: Settings, pacs: Pacs) -> Finding:
    tls = pacs.tls.as_client() if pacs.encrypted else None
    return _at(pacs.host, pacs.port, lambda: _echo(settings, pacs.ae_title or "", pacs.host, pacs.port, tls=tls))


def _destination(settings: Settings, given: AnyDestination) -> Finding:
    probe = make_destination(given, settings).probe
    if isinstance(given, DicomDestination | Hl7Destination):
        return _at(given.host, given.port, lambda: (Verdict.GOOD, probe()))
    return Verdict.GOOD, probe()


def _at(host: str, port: int | None, look: Callable[[], Finding]) -> Finding:
    """What is found there; a fault says where."""
    try:
        return look()
    except PneumoscopeError as fault:
        return Verdict.WRONG, f"{host} port {port}: {fault} ({fault.code})"


def _echo(settings: Settings, ae_title: str, host: str, port: int | None, *, tls: ClientTls | None) -> Finding:
    assert port is not None
    peer = Peer(
        ae_title=ae_title,
        host=host,
        port=port,
        calling_ae_title=settings.dicom.ae_title,
        tls=tls,
        timeout_s=ECHO_TIMEOUT_S,
        deadline_s=2 * ECHO_TIMEOUT_S,
    )
    with associate(peer, [build_context(Verification)]) as association:
        if association.send_c_echo().get("Status") != 0:
            return Verdict.WRONG, f"{ae_title} takes the association and does not answer C-ECHO with success."
    return Verdict.GOOD, f"{ae_title} answers."


def _processes(database: Database, settings: Settings) -> Finding:
    with database.look() as db:
        kinds = [found.kind for found in processes.alive(db)]
        known = db.execute(sa.select(process.c.id).limit(1)).first()
    if not known:
        return Verdict.LOOK, "None was ever started."
    text = ", ".join(f"{kinds.count(kind)} {kind}s" for kind in ("receiver", "server", "worker"))
    wanted = {"receiver": settings.dicom.receivers, "server": 1, "worker": 1}
    return (Verdict.GOOD if all(kinds.count(k) >= n for k, n in wanted.items()) else Verdict.LOOK), f"{text}."


def _studies(database: Database) -> Finding:
    with database.look() as db:
        rows = db.execute(sa.select(study.c.state, sa.func.count()).group_by(study.c.state)).all()
    counts = {str(state): int(number) for state, number in rows}
    text = ", ".join(f"{number} {state}" for state, number in sorted(counts.items())) or "none yet"
    return (Verdict.LOOK if counts.get(StudyState.FAILED) else Verdict.GOOD), f"{text}."


def _outbox(database: Database) -> Finding:
    with database.look() as db:
        rows = db.execute(sa.select(delivery.c.state, sa.func.count()).group_by(delivery.c.state)).all()
    counts = {str(state): int(number) for state, number in rows}
    text = ", ".join(f"{number} {state}" for state, number in sorted(counts.items())) or "empty"
    return (Verdict.LOOK if counts.get(DeliveryState.STOPPED) else Verdict.GOOD), f"{text}."


def _certificates(settings: Settings) -> list[tuple[Path, Path | None]]:
    pairs = [(settings.http.certificate, settings.http.key)]
    owners = (settings.dicom, *settings.dicom.senders, *settings.pacs, *settings.destinations)
    pairs += [(owner.tls.certificate, owner.tls.key) for owner in owners]
    return list(dict.fromkeys((certificate, key) for certificate, key in pairs if certificate))


def _certificate(path: Path, key: Path | None) -> Finding:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    until = certificate.not_valid_after_utc
    if key and load_pem_private_key(key.read_bytes(), None).public_key() != certificate.public_key():
        return Verdict.WRONG, "The key is not that of the certificate."
    if not certificate.not_valid_before_utc <= datetime.now(UTC) <= until:
        return Verdict.WRONG, f"It holds from {certificate.not_valid_before_utc:%Y-%m-%d} to {until:%Y-%m-%d}."
    soon = until - datetime.now(UTC) < CERTIFICATE_WARNING
    return (Verdict.LOOK if soon else Verdict.GOOD), f"It holds until {until:%Y-%m-%d}."
