"""What the node measures of itself, as Prometheus reads it: counters of every process, and gauges from the database."""

import os
from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Any

import sqlalchemy as sa
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pneumoscope import __version__
from pneumoscope.server.desk import Desk
from pneumoscope.store import now
from pneumoscope.store.schema import DeliveryState, ReadingState, StudyState, delivery, image, reading, study

REQUESTS = Counter("pneumoscope_http_requests_total", "Requests answered.", ["method", "route", "status"])
ANSWERS = Counter("pneumoscope_answers_total", "Answers of people to readings.", ["judgement", "objection"])
SECONDS = Histogram(
    "pneumoscope_http_request_seconds",
    "Seconds until a request was answered whole.",
    ["route"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 120),
)


def exposition(desk: Desk) -> bytes:
    """Prometheus text. Raises OperationalError where the database is away."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        counted = CollectorRegistry()
        multiprocess.MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
    else:
        counted = REGISTRY
    looked_up = CollectorRegistry()
    looked_up.register(_FromDatabase(desk))
    return generate_latest(counted) + generate_latest(looked_up)


class _FromDatabase(Collector):
    """Gauges that are looked up when they are asked for."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def describe(self) -> list[Metric]:
        return []  # else the registry would ask for them once more

    def collect(self) -> Iterator[Metric]:
        living = self._desk.pulse.living()
        with self._desk.store.database.look() as db:
            yield gauge("pneumoscope_studies", "Studies, by state.", ["state"], _count(db, study.c.state), list(StudyState))
            yield gauge(
                "pneumoscope_readings", "Readings, by state.", ["state"], _count(db, reading.c.state), list(ReadingState)
            )
            yield GaugeMetricFamily("pneumoscope_images", "Objects in the archive.", value=_rows(db))
            counts = {tuple(key): n for *key, n in _grouped(db, delivery.c.destination, delivery.c.state)}
            yield gauge("pneumoscope_deliveries", "Deliveries, by destination and state.", ["destination", "state"], counts)
            yield _oldest(db, "pneumoscope_oldest_waiting_delivery_age_seconds", delivery, DeliveryState.WAITING)
            yield _oldest(db, "pneumoscope_oldest_waiting_reading_age_seconds", reading, ReadingState.WAITING)
            models = dict.fromkeys(_models(db), 1)
            yield gauge("pneumoscope_model_info", "Models that made readings, by version.", ["model", "device_uid"], models)
        kinds = {(kind,): living[kind] for kind in ("receiver", "server", "worker", "member")}
        yield gauge("pneumoscope_processes_alive", "Processes that live, by kind.", ["kind"], kinds)
        free = self._desk.store.files.free_share()
        yield GaugeMetricFamily("pneumoscope_disk_free_share", "Part of the disk that is free, 0 to 1.", value=free)
        yield gauge("pneumoscope_build_info", "The software.", ["version"], {(__version__,): 1})


def gauge(
    name: str, text: str, labels: list[str], counts: Mapping[Any, float], always: list[str] | None = None
) -> GaugeMetricFamily:
    """One with a value for each of these labels; ``always``: labels that are 0 where they are not counted."""
    family = GaugeMetricFamily(name, text, labels=labels)
    zeros: dict[Any, float] = {(str(state),): 0 for state in always or ()}
    for key, value in sorted((zeros | dict(counts)).items()):
        family.add_metric(key, value)
    return family


def _grouped(db: sa.Connection, *columns: sa.Column[str]) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in db.execute(sa.select(*columns, sa.func.count()).group_by(*columns))]


def _count(db: sa.Connection, column: sa.Column[str]) -> dict[tuple[str, ...], int]:
    return {(str(state),): int(number) for state, number in _grouped(db, column)}


def _rows(db: sa.Connection) -> int:
    return db.execute(sa.select(sa.func.count()).select_from(image)).scalar_one()


def _oldest(db: sa.Connection, name: str, table: sa.Table, state: str) -> GaugeMetricFamily:
    oldest = db.execute(sa.select(sa.func.min(table.c.created_at)).where(table.c.state == state)).scalar()
    age_s = (now() - oldest.replace(tzinfo=UTC)).total_seconds() if oldest else 0.0
    return GaugeMetricFamily(name, "Seconds since the oldest that waits was made; 0 where none waits.", value=age_s)


def _models(db: sa.Connection) -> list[tuple[str, str]]:
    query = sa.select(reading.c.model, reading.c.device_uid).where(reading.c.model != "").distinct()
    return [(model, uid) for model, uid in db.execute(query)]
