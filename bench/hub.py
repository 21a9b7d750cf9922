"""The hub of a large fleet: reports a second over mutual TLS, pages with many sites and days, bytes a site and day.

    python bench/hub.py                       5,000 sites, 30 days, 20 s of reports
    python bench/hub.py --postgres URL        the same on a PostgreSQL database that is empty

Reports come from a process of its own, on the same cores: first over connections that stay open, each a site with its own
certificate, then over a new connection each, the dearest case. 5,000 sites that report every minute are 83 a second. All
figures are invented.
"""

import argparse
import asyncio
import json
import os
import random
import resource
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pneumoscope.config import load_settings
from pneumoscope.fleet.cells import hide, hide_parts, histogram
from pneumoscope.fleet.messages import (
    Agreement,
    Alarm,
    AlarmKind,
    Answer,
    Health,
    Mode,
    ModelWindow,
    Report,
    Role,
    Service,
    Window,
)
from pneumoscope.fleet.totals import totals
from pneumoscope.hub.drawing import PLACES
from pneumoscope.hub.prepare import open_authority, prepare
from pneumoscope.store import Store, now, site_alarms
from pneumoscope.store.hub_schema import province_day, site, site_window, window_total
from pneumoscope.store.windows import COUNTED, FILLED

MODEL, TOKEN = "lung-lesion 1.0.0", "bench-token-0123456789"
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
#: Windows are drawn from so many made ones for each day: making each anew would take longer than what is measured.
POOL = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=5000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--postgres", default="")
    parser.add_argument("--call", type=Path, help=argparse.SUPPRESS)  # as the process of the sites
    parser.add_argument("--fresh", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=Path, help="Fill this folder and serve it, to look at the pages.")
    given = parser.parse_args()
    if given.call:
        asyncio.run(call(given.call, seconds=given.seconds, fresh=given.fresh))
        return
    folder = given.serve or Path(tempfile.mkdtemp(prefix="pneumoscope-hub-"))
    config = folder / "hub.toml"
    folder.mkdir(exist_ok=True)
    config.write_text(
        f'[node]\nfolder = "{folder / "hub"}"\ndatabase_url = "{given.postgres}"\n[http]\ntokens = ["{TOKEN}"]\n'
        '[hub]\nhost = "127.0.0.1"\nport = 18443\nsites_port = 18444\n[logs]\nlevel = "error"\n'
    )
    settings = load_settings(config)
    store = prepare(settings)
    begun_s = time.perf_counter()
    names = fill(store, sites=given.sites, days=given.days)
    print(f"{given.sites} sites with {given.days} days: made in {time.perf_counter() - begun_s:.0f} s")
    size_of(store, folder, sites=given.sites, days=given.days)
    enrol(store, open_authority(settings), folder, names[: given.connections])
    store.database.close()
    hub = subprocess.Popen([sys.executable, "-m", "pneumoscope.cli", "hub", "--config", str(config)])
    try:
        measure(folder, given)
        if given.serve:
            print(f"https://localhost:18443/ with the bearer token {TOKEN}; Ctrl-C ends it")
            signal.pause()
    finally:
        hub.terminate()
        hub.wait()
        if not given.serve:
            shutil.rmtree(folder)


def measure(folder: Path, given: argparse.Namespace) -> None:
    context = ssl.create_default_context(cafile=folder / "hub" / "hub" / "authority.pem")
    headers = {"authorization": f"Bearer {TOKEN}", "accept": "text/html"}
    with httpx.Client(base_url="https://localhost:18443", verify=context, headers=headers, timeout=120) as client:
        for _ in range(600):
            try:
                client.get("/health")
                break
            except httpx.TransportError:
                time.sleep(0.2)
        pages(client, "with nothing else to do")
        for fresh, words in ((False, "open connections"), (True, "a new connection each")):
            command = [sys.executable, __file__, "--call", str(folder), "--seconds", str(given.seconds)]
            calling = subprocess.Popen([*command, *(["--fresh"] if fresh else [])], stdout=subprocess.PIPE, text=True)
            time.sleep(3)
            if not fresh:
                pages(client, "while sites report as fast as they can")
            told = json.loads(calling.communicate()[0])
            print(
                f"reports, {words}: {told['reports'] / told['seconds']:.0f} a second; answered in "
                f"{told['median_ms']:.0f} ms at the median, {told['p99_ms']:.0f} ms at 99 %"
            )


def pages(client: httpx.Client, words: str) -> None:
    for path in (
        "/",
        "/?province=Hubei",
        "/?order=positive&down=true",
        "/?order=alarms&down=true&days=7",
        "/export/measure-report",
    ):
        taken = []
        for _ in range(3):
            begun_s = time.perf_counter()
            answer = client.get(path)
            taken.append(time.perf_counter() - begun_s)
            assert answer.status_code == 200, answer.text[:500]
        print(f"page {path} {words}: {1000 * sorted(taken)[1]:.0f} ms, {len(answer.content) / 1000:.0f} kB")


def make_window(start: datetime, *, studies: int, prevalence: float, chance: random.Random) -> Window:
    """A day of a hospital."""
    sign = sum(chance.random() < prevalence for _ in range(studies))
    unsure = sum(chance.random() < 0.08 for _ in range(studies - sign))
    cells = {Answer.SIGN: sign, Answer.INDETERMINATE: unsure, Answer.NO_SIGN: studies - sign - unsure}
    scores = [chance.betavariate(6, 2) if n < sign else chance.betavariate(1.2, 9) for n in range(studies)]
    percents = [chance.expovariate(1 / 15) if n < sign else chance.expovariate(2) for n in range(studies)]
    answers = sum(chance.random() < 0.6 for _ in range(studies))
    agreed = sum(chance.random() < 0.92 for _ in range(answers))
    model = ModelWindow(
        model=MODEL,
        device_uid="2.25.1",
        role=Role.PRESENT,
        mode=Mode.LIVE,
        read=hide(studies),
        failed={"reader-crashed": None} if chance.random() < 0.03 else {},
        categories=hide_parts(cells),
        score=histogram("score", scores),
        involved_percent=histogram("involved_percent", percents),
        reading_s=histogram("reading_s", [chance.gauss(12, 3) for _ in range(studies)]),
        agreement=Agreement(answers=hide(answers), agreed=hide(agreed)),
    )
    waits = histogram("wait_s", [chance.expovariate(1 / 15) for _ in range(studies)])
    inputs = {"thickness_mm": histogram("thickness_mm", [chance.choice((1, 1.5, 5)) for _ in range(studies)])}
    words = {"manufacturer": hide_parts({"ge": studies // 2, "siemens": studies - studies // 2})}
    return Window(
        start=start, end=start + DAY, studies=hide(studies), wait_s=waits, inputs=inputs, words=words, models=(model,)
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
    for day in range(days, 0, -1):
        start = midnight - day * DAY
        wave = 0.4 + 0.6 * (1 - abs(day - days / 3) / days)
        pools = {
            name: [
                make_window(start, studies=int(chance.lognormvariate(3.4, 0.7)), prevalence=share * wave, chance=chance)
                for _ in range(max(4, POOL // len(provinces) * 2))
            ]
            for name, share in height.items()
        }
        made = {
            name: [(one.model_dump_json(exclude_defaults=True), totals(one)) for one in pool] for name, pool in pools.items()
        }
        shared = {"start": start, "end": start + DAY, "day": f"{start:%Y-%m-%d}"}
        chosen = [(row["id"], chance.choice(made[row["province"]])) for row in rows]
        with store.database.begin() as db:
            kept = [{"site": name, **shared, "received_at": moment, "content": content} for name, (content, _) in chosen]
            db.execute(site_window.insert(), kept)
            db.execute(
                window_total.insert(),
                [{**FILLED, "site": name, **shared, **row} for name, (_, flat) in chosen for row in flat],
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
        "id": f"00000000-0000-4000-8000-{number:012d}",
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


def size_of(store: Store, folder: Path, *, sites: int, days: int) -> None:
    with store.database.look() as db:
        if store.database.is_sqlite:
            db.execute(sa.text("SELECT 1"))
            whole = (folder / "hub" / "node.sqlite").stat().st_size
        else:
            whole = db.execute(sa.text("SELECT pg_database_size(current_database())")).scalar_one()
        content = db.execute(sa.select(sa.func.avg(sa.func.length(site_window.c.content)))).scalar_one()
    told = report((make_window(datetime.now(UTC), studies=40, prevalence=0.2, chance=random.Random(1)),)).model_dump_json()
    print(f"kept: {whole / 1e6:.0f} MB, {whole / sites / days:.0f} bytes a site and day, of which a window is {content:.0f}")
    print(f"sent: a report is {len(report().model_dump_json())} bytes, one with a window {len(told)}")


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


async def call(folder: Path, *, seconds: float, fresh: bool) -> None:
    """Report over all connections for so long; one in 100 reports has a window that is new."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    end_s = time.perf_counter() + seconds
    taken: list[float] = []
    await asyncio.gather(*(one(folder, path, end_s, taken, fresh) for path in sorted((folder / "sites").glob("*.pem"))))
    taken.sort()
    print(
        json.dumps(
            {
                "reports": len(taken),
                "seconds": seconds,
                "median_ms": 1000 * taken[len(taken) // 2],
                "p99_ms": 1000 * taken[int(0.99 * len(taken))],
            }
        )
    )


async def one(folder: Path, certificate: Path, end_s: float, taken: list[float], fresh: bool) -> None:
    context = ssl.create_default_context(cafile=folder / "hub" / "hub" / "authority.pem")
    context.load_cert_chain(certificate)
    chance, number = random.Random(certificate.name + str(os.getpid())), 0
    start = (
        datetime.now(UTC) + 50 * int(time.monotonic()) * HOUR
    )  # after all windows of a run before, or they would not be taken
    plain = report().model_dump_json().encode()
    reader, writer = await asyncio.open_connection("localhost", 18444, ssl=context)
    while time.perf_counter() < end_s:
        number += 1
        body = plain
        if number % 100 == 50:
            at = start + number * HOUR
            window = make_window(at, studies=40, prevalence=0.2, chance=chance).model_copy(update={"end": at + HOUR})
            body = report((window,)).model_dump_json().encode()
        begun_s = time.perf_counter()
        if fresh and number > 1:
            writer.close()
            reader, writer = await asyncio.open_connection("localhost", 18444, ssl=context)
        writer.write(b"POST /report HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        answer = await reader.readexactly(length)
        assert head.startswith(b"HTTP/1.1 200"), answer
        taken.append(time.perf_counter() - begun_s)
    writer.close()


if __name__ == "__main__":
    main()
