"""One hospital of the fleet that runs on this machine: its node's processes, its scanner, its reader."""

import importlib
import os
import random
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from pathlib import Path

import psutil
import sqlalchemy as sa
from dbos import _workflow_commands as dbos_jobs
from forking import ForkedReader, forked
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom.presentation import build_context

from pneumoscope.config import Settings, load_settings
from pneumoscope.delivery.association import Peer, associate
from pneumoscope.fleet.messages import Answer as Said
from pneumoscope.member.joining import join
from pneumoscope.node.prepare import prepare
from pneumoscope.records import Answer, Category, Judgement, Objection
from pneumoscope.store import Database, now, reviews, service, tellings, verdicts
from pneumoscope.store.fleet_schema import observation
from pneumoscope.store.schema import ReadingState, reading
from pneumoscope.telemetry import SUPERVISED_VARIABLE
from pneumoscope.worker import child, features

PARTS = ("receiver", "worker", "member")
for _part in PARTS:
    importlib.import_module(f"pneumoscope.{_part}.process")
#: How often a site's own watch looks: minutes stand for days here.
WATCH_EVERY_S = 15.0
#: What is written here is committed so soon; a window of a minute cannot wait as long for it as one of a day.
SETTLES = timedelta(seconds=4)
#: 26 nodes that look each second for what never comes would take a tenth of this machine.
QUIET_S = 10.0
#: How often a reader is of another mind than the truth of the phantom.
READER_ERRS = 0.03
WORDS = {True: Category.SIGN, False: Category.NO_SIGN}
KEYS = {True: Said.SIGN, False: Said.NO_SIGN}


@dataclass(frozen=True)
class Scanner:
    """What a scanner writes into its headers, and which of the phantoms its images look like."""

    Manufacturer: str
    ConvolutionKernel: str
    look: str = "usual"


@dataclass
class Site:
    """``folder`` holds everything of it; ``promotion``: who puts new models in service there."""

    title: str
    province: str
    folder: Path
    scanner: Scanner
    dicom_port: int
    chance: random.Random
    promotion: str = "hub"
    misled: bool = False  # its model calls all of its patients sick
    processes: dict[str, psutil.Process] = field(default_factory=dict)
    truth: dict[str, bool] = field(default_factory=dict)  # of each study by its UID: whether the phantom is sick
    answered: set[str] = field(default_factory=set)

    def prepare(self, public_key: Path) -> None:
        """Its settings and folders; the key of the models' maker is trusted, as its operator would do by hand."""
        trusted = self.folder / "home" / "trusted_keys"
        trusted.mkdir(parents=True)
        (trusted / public_key.name).write_bytes(public_key.read_bytes())
        self.config.write_text(
            f'[node]\nfolder = "{self.folder / "node"}"\npace = 16\n'
            f'[dicom]\nport = {self.dicom_port}\nhost = "127.0.0.1"\nreceivers = 1\n'
            f'[http]\nhost = "127.0.0.1"\n[people]\nways = "local"\n[fleet]\npromotion = "{self.promotion}"\n'
            '[disk]\ndurable = false\nwatermark = 0.001\nmax_share = 0.999\n[logs]\nlevel = "warning"\n'
        )
        prepare(self.settings)

    @property
    def config(self) -> Path:
        """Its settings file."""
        return self.folder / "node.toml"

    @cached_property
    def settings(self) -> Settings:
        """Its settings."""
        return load_settings(self.config)

    @cached_property
    def database(self) -> Database:
        """Its database, as its own people see it."""
        return Database(self.settings.database_url)

    def join(self, token: str, *, keep_live: bool) -> None:
        """As `pneumoscope join` does."""
        join(self.settings, token, keep_live=keep_live)

    @property
    def environment(self) -> dict[str, str]:
        """Of its processes."""
        return {
            **os.environ,
            "PNEUMOSCOPE_CONFIG": str(self.config),
            "PNEUMOSCOPE_HOME": str(self.folder / "home"),
            "OMP_NUM_THREADS": "1",
            SUPERVISED_VARIABLE: "1",
        }

    def start(self, *parts: str) -> None:
        """Start its processes, or some.

        They are forked from this one, which has all modules: 26 nodes are up in a fraction of the time and memory that way.
        """
        for part in parts or PARTS:
            self.processes[part] = psutil.Process(forked(part, self._run, part))

    def _run(self, part: str) -> None:
        log = os.open(self.folder / "node.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for stream in (1, 2):
            os.dup2(log, stream)
        os.environ.update(self.environment)
        process = importlib.import_module(f"pneumoscope.{part}.process")
        process.WATCH_EVERY_S = WATCH_EVERY_S
        tellings.SETTLES = SETTLES
        child.launch = ForkedReader.launch
        dbos_jobs._BACKGROUND_JOBS_INTERVAL_SEC = QUIET_S  # of timeouts and delays, which readings have none of
        process.run(load_settings(self.config))

    def stop(self, *parts: str) -> None:
        """End its processes, or some."""
        ending = [self.processes.pop(part) for part in parts or list(self.processes)]
        for process in ending:
            process.terminate()
        for process in ending:
            try:
                process.wait(timeout=30)
            except psutil.TimeoutExpired:
                process.kill()

    def scan(self, phantoms: dict[tuple[str, bool], Path], *, sick: bool) -> None:
        """A study comes from its scanner."""
        images = _images(phantoms[self.scanner.look, sick])
        study, series = generate_uid(prefix=None), generate_uid(prefix=None)
        patient = f"{self.chance.randrange(10**8):08d}"
        for image in images:
            image.StudyInstanceUID, image.SeriesInstanceUID = study, series
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
            image.PatientID, image.PatientName = patient, f"Phantom^{patient}"
            image.Manufacturer, image.ConvolutionKernel = self.scanner.Manufacturer, self.scanner.ConvolutionKernel
        self.truth[str(study)] = sick
        peer = Peer(
            ae_title=self.settings.dicom.ae_title,
            host="127.0.0.1",
            port=self.dicom_port,
            calling_ae_title="CT1",
            tls=None,
            timeout_s=60,
            deadline_s=300,
        )
        with associate(peer, [build_context(CTImageStorage, ExplicitVRLittleEndian)]) as assoc:
            for image in images:
                status: Dataset = assoc.send_c_store(image)
                assert status.get("Status") == 0, f"{self.title} did not take an image: {status}"

    @property
    def unread(self) -> int:
        """Studies that were sent and whose reading has not ended."""
        ended = (ReadingState.READ, ReadingState.HELD, ReadingState.REFUSED, ReadingState.FAILED)
        with self.database.look() as db:
            done = db.execute(sa.select(sa.func.count()).where(reading.c.state.in_(ended))).scalar() or 0
        return len(self.truth) - int(done)

    @property
    def unanswered(self) -> int:
        """Studies that its reader has said nothing of."""
        return len(self.truth) - len(self.answered)

    def unpaired(self, since: datetime) -> int:
        """Studies read since then that the candidate, where there is one, has not read yet."""
        query = sa.select(observation.c.reading_id, observation.c.role).where(observation.c.at >= since)
        with self.database.look() as db:
            if not service.current(db, "").candidate:
                return 0
            rows = db.execute(query).all()
        read = {role: {row.reading_id for row in rows if row.role == role} for role in ("present", "candidate")}
        return len(read["present"] - read["candidate"])

    def answer(self) -> None:
        """Its reader says what every new study shows: agreeing or not where a result is shown, blind where none is."""
        with self.database.look() as db:
            rows = db.execute(sa.select(reading).where(reading.c.state.in_((ReadingState.READ, ReadingState.HELD)))).mappings()
            fresh = [row for row in rows if row["id"] not in self.answered]
        for row in fresh:
            self.answered.add(row["id"])
            sick = self.truth[row["StudyInstanceUID"]] ^ (self.chance.random() < READER_ERRS)
            with self.database.begin() as db:
                if row["state"] == ReadingState.HELD:
                    verdicts.add(db, row["StudyInstanceUID"], reader="reader", category=KEYS[sick], source="page")
                else:
                    reviews.add(db, row["id"], _opinion(row["category"], WORDS[sick]), reader="reader")

    def remember(self, others: "list[Site]", *, readings: int, days: int) -> None:
        """The past that this site had before the fleet: readings like those of other sites, drawn at random."""
        known: list[sa.RowMapping] = []
        for other in others:
            with other.database.look() as db:
                known += db.execute(sa.select(observation).where(observation.c.role == "present")).mappings()
        begin = now().timestamp() - (days + 1) * 86_400
        own_words = {
            "manufacturer": features.manufacturer(self.scanner.Manufacturer),
            "kernel": features.kernel(self.scanner.ConvolutionKernel),
        }
        with self.database.begin() as db:
            for number in range(readings):
                like = self.chance.choice(known)
                alike = {
                    name: value * self.chance.gauss(1, 0.03) if isinstance(value, int | float) else value
                    for name, value in like["features"].items()
                } | own_words
                score = min(0.999, max(0.001, like["probability"] + self.chance.gauss(0, 0.02)))
                at = datetime.fromtimestamp(begin + (number + self.chance.random()) / readings * days * 86_400, UTC)
                changed = {"probability": score, "features": alike, "mode": "live", "at": at, "StudyInstanceUID": ""}
                own = {"id": str(uuid.uuid4()), "reading_id": str(uuid.uuid4())}
                db.execute(observation.insert().values({**like, **changed, **own}))


@cache
def _images(folder: Path) -> list[Dataset]:
    return [dcmread(path) for path in sorted(folder.iterdir())]


def _opinion(found: str, meant: Category) -> Answer:
    if found == meant:
        return Answer(judgement=Judgement.ACCEPT)
    return Answer(judgement=Judgement.REJECT, objection=Objection.WRONG_CATEGORY)
