"""Sends what lies in the outbox: one delivery at a time for each destination, so that a slow one holds up no other."""

import threading
from datetime import timedelta

import sqlalchemy as sa
import structlog

from pneumoscope.delivery import Destination, Outcome, Receipt, Shipment
from pneumoscope.errors import PneumoscopeError, RetryLater
from pneumoscope.records import Parcel
from pneumoscope.results import PAGE_PICTURE
from pneumoscope.store import now, outbox, readings
from pneumoscope.store.schema import DeliveryState
from pneumoscope.worker.destinations import make_destination
from pneumoscope.worker.metrics import DELIVERIES, LAST_IMAGE_TO_RESULT
from pneumoscope.worker.workflow import AWAY, Bench

#: A commitment that does not come in this time is asked for again, by sending again.
COMMITMENT_PATIENCE = timedelta(minutes=30)
log = structlog.get_logger()


class Posting:
    """The outbox as this worker serves it."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._destinations = {given.name: make_destination(given, bench.settings) for given in bench.settings.destinations}
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    def look(self) -> None:
        """Start to send what is due."""
        database = self._bench.store.database
        with database.look() as db:
            if not outbox.anything_due(db, patience=COMMITMENT_PATIENCE):
                return
        with self._lock:
            busy = tuple(self._busy)
        with database.begin() as db:
            outbox.overdue(db, older_than=COMMITMENT_PATIENCE)
            taken = outbox.claim(db, process_id=self._bench.process_id, busy=busy)
        for row in taken:
            with self._lock:
                self._busy.add(row["destination"])
            threading.Thread(target=self._send, args=(row,), name="sending", daemon=True).start()

    def _send(self, row: sa.RowMapping) -> None:
        destination = self._destinations.get(row["destination"])
        try:
            if destination is None:
                self._stop(row, "no-such-destination", "The settings no longer name this destination.")
            else:
                self._try(row, destination)
        finally:
            with self._lock:
                self._busy.discard(row["destination"])

    def _try(self, row: sa.RowMapping, destination: Destination) -> None:
        try:
            receipt = destination.deliver(self._shipment(row))
        except RetryLater as fault:
            self._postpone(row, fault.code, str(fault))
        except PneumoscopeError as fault:
            ours = fault.code in (*AWAY, "store-unwritable")  # the file store's fault, not the destination's
            (self._postpone if ours else self._stop)(row, fault.code, str(fault))
        except FileNotFoundError:
            self._stop(row, "results-gone", "The results are no longer in the file store.")
        except Exception as fault:  # noqa: BLE001  a process boundary: whatever a peer provoked, the delivery waits
            self._postpone(row, "bug", f"It failed by a fault of ours ({type(fault).__name__}).")
        else:
            self._settle(row, receipt)

    def _shipment(self, row: sa.RowMapping) -> Shipment:
        reading_id = row["reading_id"]
        files = self._bench.store.files
        with self._bench.store.database.look() as db:
            study = readings.get(db, reading_id)["StudyInstanceUID"]
            stored = readings.parcels(db, reading_id, review_id=row["review_id"])
        sent = [found for found in stored if not found.name.startswith(PAGE_PICTURE)]
        return Shipment(
            reading_id=row["review_id"] or reading_id,
            StudyInstanceUID=study,
            parcels=tuple(Parcel(name=p.name, media_type=p.media_type, content=files.read(p.key)) for p in sent),
            transaction_uid=row["transaction_uid"],
        )

    def _settle(self, row: sa.RowMapping, receipt: Receipt) -> None:
        state = {
            Outcome.DELIVERED: DeliveryState.DELIVERED,
            Outcome.CONFIRMED: DeliveryState.CONFIRMED,
            Outcome.PENDING: DeliveryState.PENDING,
        }[receipt.outcome]

        def work(db: sa.Connection) -> sa.RowMapping:
            outbox.settle(db, row["id"], state=state, message=receipt.detail)
            return readings.get(db, row["reading_id"])

        reading = self._bench.store.database.insist(work)
        if not row["review_id"]:  # people answer when they like
            seconds = (now() - reading["last_image_at"]).total_seconds()
            LAST_IMAGE_TO_RESULT.labels(destination=row["destination"]).observe(seconds)
        self._note(row, str(state), "")

    def _postpone(self, row: sa.RowMapping, code: str, message: str) -> None:
        self._bench.store.database.insist(lambda db: outbox.postpone(db, row["id"], code=code, message=message))
        self._note(row, "postponed", code)

    def _stop(self, row: sa.RowMapping, code: str, message: str) -> None:
        self._bench.store.database.insist(lambda db: outbox.stop(db, row["id"], code=code, message=message))
        self._note(row, "stopped", code)

    def _note(self, row: sa.RowMapping, outcome: str, code: str) -> None:
        DELIVERIES.labels(destination=row["destination"], outcome=outcome).inc()
        log.info(
            "A delivery was tried", destination=row["destination"], outcome=outcome, code=code, reading_id=row["reading_id"]
        )
