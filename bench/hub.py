"""The hub of a large fleet: reports a second over mutual TLS, pages with many sites and days, bytes a site and day.

    python bench/hub.py                 5,000 sites, 30 days, 20 s of reports, on SQLite
    python bench/hub.py --postgres      the same on a PostgreSQL server of its own

Pages are timed alone, and while 83 reports a second come, as from 5,000 sites that report every minute. Then reports come as
fast as they are taken, from a process of its own on the same cores: over connections that stay open, each a site with its own
certificate, and over a new connection each, the dearest case. All figures are invented.
"""

import argparse
import asyncio
import os
import random
import resource
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pneumoscope.config import load_settings
from pneumoscope.fleet.messages import Alarm, AlarmKind, Answer, Health, Mode, Report, Role, Service, Window
from pneumoscope.fleet.totals import totals
from pneumoscope.fleet.windows import Answered, Seen, build
from pneumoscope.hub.drawing import PLACES
from pneumoscope.hub.prepare import open_authority, prepare
from pneumoscope.store import Store, now, site_alarms
from pneumoscope.store.fleet_figures import ORDERS
from pneumoscope.store.hub_schema import province_day, site, site_window, window_total
from pneumoscope.store.windows import COUNTED, FILLED
from servers import postgres

MODEL, TOKEN = "lung-lesion 1.0.0", "bench-token-0123456789"
SITE = "00000000-0000-4000-8000-000000000000"
DAY, HOUR, YEAR = timedelta(days=1), timedelta(hours=1), timedelta(days=366)
#: Reports a second of 5,000 sites that report every minute.
GOAL = 83
#: Windows are drawn from so many made ones for each share of the ill: making each anew would take longer than what is measured.
ALIKE, PREVALENCES = 20, (0.005, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.42)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=5000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--port", type=int, default=18443, help="Of the pages; that of the sites is the next.")
    parser.add_argument("--call", type=Path, help=argparse.SUPPRESS)  # as the process of the sites
    parser.add_argument("--words", default="", help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--fresh", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=Path, help="Fill this folder and serve it, to look at the pages.")
    given = parser.parse_args()
    if given.call:
        asyncio.run(call(given))
        return
    with ExitStack() as stack:
        folder = given.serve or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pneumoscope-hub-")))
        url = stack.enter_context(postgres()).url if given.postgres else ""
        try_out(folder, url, given)


def try_out(folder: Path, url: str, given: argparse.Namespace) -> None:
    folder.mkdir(exist_ok=True)
    config = folder / "hub.toml"
    config.write_text(
        f'[node]\nfolder = "{folder / "hub"}"\ndatabase_url = "{url}"\n[http]\ntokens = ["{TOKEN}"]\n'
        f'[hub]\nhost = "127.0.0.1"\nport = {given.port}\nsites_port = {given.port + 1}\n[logs]\nlevel = "error"\n'
    )
    settings = load_settings(config)
    store = prepare(settings)
    begun_s = time.perf_counter()
    names = fill(store, sites=given.sites, days=given.days)
    kind = "PostgreSQL" if url else "SQLite"
    print(f"{given.sites} sites with {given.days} days on {kind}: made in {time.perf_counter() - begun_s:.0f} s", flush=True)
    size_of(store, sites=given.sites, days=given.days)
    enrol(store, open_authority(settings), folder, names[: given.connections])
    store.database.close()
    hub = subprocess.Popen([sys.executable, "-m", "pneumoscope.cli", "hub", "--config", str(config)])
    try:
        measure(folder, given)
        if given.serve:
            print(f"https://localhost:{given.port}/ with the bearer token {TOKEN}; Ctrl-C ends it")
            signal.pause()
    finally:
        hub.terminate()
        hub.wait()


def measure(folder: Path, given: argparse.Namespace) -> None:
    context = ssl.create_default_context(cafile=folder / "hub" / "hub" / "authority.pem")
    headers = {"authorization": f"Bearer {TOKEN}", "accept": "text/html"}
    with httpx.Client(base_url=f"https://localhost:{given.port}", verify=context, headers=headers, timeout=120) as client:
        for _ in range(600):
            try:
                client.get("/health")
                break
            except httpx.TransportError:
                time.sleep(0.2)
        pages(client, "with nothing else to do")
        with calling(folder, given, f"{GOAL} a second wanted", "--rate", str(GOAL)):
            pages(client, f"while {GOAL} reports a second come")
        for words, *more in (("over open connections",), ("over a new connection each", "--fresh")):
            with calling(folder, given, words, *more):
                time.sleep(given.seconds)


@contextmanager
def calling(folder: Path, given: argparse.Namespace, words: str, *more: str) -> Iterator[None]:
    """Sites report meanwhile; prints how many reports were taken, and how soon."""
    command = [sys.executable, __file__, "--call", str(folder), "--port", str(given.port), "--words", words, *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline()  # all are connected
        yield
        process.terminate()
        print(process.stdout.read(), end="", flush=True)
    assert process.returncode == 0


def pages(client: httpx.Client, words: str) -> None:
    """Median of three for each page, and the slowest of all."""
    paths = ["/", "/?province=Hubei", "/?trouble=true", "/?text=people", "/?at=50", "/?days=365", f"/sites/{SITE}", "/rollouts"]
    paths += [f"/?order={order}&down={down}" for order in ORDERS for down in ("false", "true")]
    paths += ["/export/measure-report"]
    slowest = 0.0
    for path in paths:
        taken = []
        for _ in range(3):
            begun_s = time.perf_counter()
            answer = client.get(path)
            taken.append(time.perf_counter() - begun_s)
            assert answer.status_code == 200, answer.text[:500]
        slowest = max(slowest, *taken)
        print(f"page {path} {words}: {1000 * sorted(taken)[1]:.0f} ms, {len(answer.content) / 1000:.0f} kB", flush=True)
    print(f"slowest of {3 * len(paths)} pages {words}: {1000 * slowest:.0f} ms", flush=True)


def make_window(start: datetime, end: datetime, *, studies: int, prevalence: float, chance: random.Random) -> Window:
    """Of a hospital whose readers answer to six readings in ten."""
    seen = [make_seen(str(number), prevalence, chance) for number in range(studies)]
    read = [one for one in seen if one.outcome == "read"]
    answered = [
        Answered(seen=one, said=one.category if chance.random() < 0.92 else Answer.CANNOT_SAY)
        for one in read
        if chance.random() < 0.6
    ]
    return build(start, end, seen=seen, answered=answered)


def make_seen(study: str, prevalence: float, chance: random.Random) -> Seen:
    ill, luck = chance.random() < prevalence, chance.random()
    outcome, code = ("failed", "reader-crashed") if luck < 0.001 else ("refused", "no-lung") if luck < 0.03 else ("read", "")
    score = chance.betavariate(6, 2) if ill else chance.betavariate(1.2, 9)
    return Seen(
        study=study,
        reading_id=study,
        model=MODEL,
        device_uid="2.25.1",
        role=Role.PRESENT,
        mode=Mode.LIVE,
        outcome=outcome,
        code=code,
        probability=score,
        category=Answer.SIGN if score > 0.5 else Answer.NO_SIGN if score < 0.35 else Answer.INDETERMINATE,
        involved_share=chance.expovariate(7) if ill else chance.expovariate(200),
        reading_s=chance.gauss(12, 3),
        wait_s=chance.expovariate(1 / 15),
        features={
            "thickness_mm": chance.choice((1.0, 1.5, 5.0)),
            "noise_hu": chance.gauss(24, 6),
            "age_years": chance.gauss(58, 18),
            "lung_volume_l": chance.gauss(4.5, 1),
            "dose_mas": chance.lognormvariate(4.5, 0.4),
            "manufacturer": chance.choice(("ge", "siemens")),
            "kernel": chance.choice(("sharp", "standard")),
            "sex": chance.choice(("f", "m")),
        },
    )


def fill(store: Store, *, sites: int, days: int) -> list[str]:
    """Sites with their windows of so many days; their ids."""
    chance, moment = random.Random(7), now()
    provinces = list(PLACES)
    height = {name: chance.uniform(0.01, 0.25) for name in provinces} | {"Hubei": 0.42}
    rows = [site_row(number, provinces[number * 7 % len(provinces)], chance, moment) for number in range(sites)]
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with store.database.begin() as db:
        db.execute(site.insert(), rows)
        told = [row for row in rows if chance.random() < 0.03]
        kinds = (AlarmKind.FAILURES, AlarmKind.LATE, AlarmKind.INPUT_DRIFT, AlarmKind.SCORE_DRIFT)
        alarms = {row["id"]: (Alarm(kind=chance.choice(kinds), since=moment - DAY, value=0.31, limit=0.1),) for row in told}
        site_alarms.told(db, alarms)
    pool = [
        [
            make_window(midnight, midnight + DAY, studies=int(chance.lognormvariate(3.4, 0.7)), prevalence=share, chance=chance)
            for _ in range(ALIKE)
        ]
        for share in PREVALENCES
    ]
    flat = [[totals(one) for one in some] for some in pool]
    for day in range(days, 0, -1):
        start = midnight - day * DAY
        wave = 0.4 + 0.6 * (1 - abs(day - days / 3) / days)
        content = [
            [one.model_copy(update={"start": start, "end": start + DAY}).model_dump_json(exclude_defaults=True) for one in some]
            for some in pool
        ]
        shared = {"start": start, "end": start + DAY, "day": f"{start:%Y-%m-%d}"}
        levels = [bisect_left(PREVALENCES[1:], height[row["province"]] * wave) for row in rows]
        chosen = [(row["id"], level, chance.randrange(ALIKE)) for row, level in zip(rows, levels, strict=True)]
        with store.database.begin() as db:
            db.execute(
                site_window.insert(),
                [
                    {"site": name, **shared, "received_at": moment, "content": content[level][one]}
                    for name, level, one in chosen
                ],
            )
            db.execute(
                window_total.insert(),
                [{**FILLED, "site": name, **shared, **row} for name, level, one in chosen for row in flat[level][one]],
            )
    with store.database.begin() as db:
        sums = [sa.func.sum(window_total.c[name]) for name in COUNTED]
        query = sa.select(site.c.province, window_total.c.day, *sums).join(site, site.c.id == window_total.c.site)
        db.execute(
            province_day.insert().from_select(
                ["province", "day", *COUNTED], query.group_by(site.c.province, window_total.c.day)
            )
        )
    return [row["id"] for row in rows]


def site_row(number: int, province: str, chance: random.Random, moment: datetime) -> dict[str, object]:
    named = f"{('First', 'Second', 'Third', 'Central', 'People’s', 'University')[number % 6]} Hospital of {province}"
    mode = chance.choices(("live", "shadow", "stopped"), (90, 9, 1))[0]
    silent = chance.random() < 0.01
    service = Service(model=MODEL, mode=Mode(mode), since=moment - 60 * DAY)
    health = Health(ready=True, waiting=0, disk_free_share=0.6, certificate_days=70, software="0.1.0")
    return {
        "id": SITE[:-12] + f"{number:012d}",
        "title": f"{named} {number + 1}",
        "province": province,
        "invited_at": moment - 90 * DAY,
        "joined_at": moment - 90 * DAY,
        "serial": f"{number:x}",
        "heard_at": moment - (timedelta(hours=5) if silent else timedelta(0)),
        "health": health.model_dump(mode="json"),
        "service": service.model_dump(mode="json"),
        "model": MODEL,
        "mode": mode,
        "ready": chance.random() > 0.004,
        "waiting": chance.choice((0, 0, None, 6)),
        "software": "0.1.0",
    }


def size_of(store: Store, *, sites: int, days: int) -> None:
    with store.database.begin() as db:
        if store.database.is_sqlite:
            asked = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
        else:
            db.execute(sa.text("ANALYZE"))  # as its own keeper does within a minute
            asked = "SELECT pg_database_size(current_database())"
        whole = db.execute(sa.text(asked)).scalar_one()
        content = db.execute(sa.select(sa.func.avg(sa.func.length(site_window.c.content)))).scalar_one()
    moment = datetime.now(UTC)
    told = report((make_window(moment, moment + DAY, studies=40, prevalence=0.2, chance=random.Random(1)),)).model_dump_json()
    print(
        f"kept: {whole / 1e6:.0f} MB, {whole / sites / days:.0f} bytes a site and day, of which a window is {content:.0f}; "
        f"it grows by {whole / days / 1e6:.1f} MB a day, {whole / days * 365 / 1e9:.1f} GB a year"
    )
    print(f"sent: a report is {len(report().model_dump_json())} bytes, one with a window {len(told)}", flush=True)


def report(windows: tuple[Window, ...] = ()) -> Report:
    moment = datetime.now(UTC)
    health = Health(ready=True, waiting=0, disk_free_share=0.6, certificate_days=70, software="0.1.0")
    service = Service(model=MODEL, mode=Mode.LIVE, since=moment - DAY)
    return Report(sent_at=moment, health=health, service=service, windows=windows)


def enrol(store: Store, authority: object, folder: Path, names: list[str]) -> None:
    """Certificates for those that report."""
    (folder / "sites").mkdir(exist_ok=True)
    for name in names:
        key = ec.generate_private_key(ec.SECP256R1())
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        csr = request.public_bytes(serialization.Encoding.PEM).decode()
        certificate, serial, _ = authority.sign_site(csr, name, days=2)  # type: ignore[attr-defined]
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        (folder / "sites" / f"{name}.pem").write_text(certificate + private)
        with store.database.begin() as db:
            db.execute(site.update().where(site.c.id == name).values(serial=serial))


async def call(given: argparse.Namespace) -> None:
    """Report over all connections until told to end."""
    folder, files = given.call, sorted((given.call / "sites").glob("*.pem"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4096, hard)), hard))
    moment, over = datetime.now(UTC), asyncio.Event()
    spare = make_window(moment, moment + HOUR, studies=40, prevalence=0.2, chance=random.Random(1))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    ways = [await asyncio.open_connection("localhost", given.port + 1, ssl=tls(folder, file)) for file in files]
    print("connected", flush=True)
    begun_s, taken = time.perf_counter(), list[float]()
    pause_s = len(files) / given.rate if given.rate else 0.0
    await asyncio.gather(*(one(given, file, way, taken, over, pause_s, spare) for file, way in zip(files, ways, strict=True)))
    taken.sort()
    print(
        f"reports, {given.words}: {len(taken) / (time.perf_counter() - begun_s):.0f} a second taken; answered in "
        f"{1000 * taken[len(taken) // 2]:.0f} ms at the median, {1000 * taken[int(0.99 * len(taken))]:.0f} ms at 99 %"
    )


def tls(folder: Path, certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=folder / "hub" / "hub" / "authority.pem")
    context.load_cert_chain(certificate)
    return context


async def one(
    given: argparse.Namespace,
    certificate: Path,
    way: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    taken: list[float],
    over: asyncio.Event,
    pause_s: float,
    spare: Window,
) -> None:
    """Reports of one site, with ``pause_s`` from one to the next; one in 100 has a window that is new."""
    (reader, writer), context = way, tls(given.call, certificate)
    chance, number = random.Random(certificate.name + str(os.getpid())), 0
    start = datetime.now(UTC) + YEAR * (1 if given.rate else 3 if given.fresh else 2)  # no window overlaps one of before
    plain = report().model_dump_json().encode()
    due_s = time.perf_counter() + chance.uniform(0, pause_s)
    await asyncio.sleep(due_s - time.perf_counter())
    while not over.is_set():
        number += 1
        body = plain
        if number % 100 == 50:
            at = start + number * HOUR
            window = spare.model_copy(update={"start": at, "end": at + HOUR})
            body = report((window,)).model_dump_json().encode()
        begun_s = time.perf_counter()
        if given.fresh and number > 1:
            writer.close()
            reader, writer = await asyncio.open_connection("localhost", given.port + 1, ssl=context)
        writer.write(b"POST /report HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        answer = await reader.readexactly(length)
        assert head.startswith(b"HTTP/1.1 200"), answer
        taken.append(time.perf_counter() - begun_s)
        due_s += pause_s
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
    writer.close()


if __name__ == "__main__":
    main()
