"""Sends what lies in the outbox: one delivery at a time for each destination, so that a slow one holds up no other."""

import threading
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog

from pneumoscope import tracing
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
        database, process_id = self._bench.store.database, self._bench.process_id
        with self._lock:
            busy = tuple(self._busy)
        with database.look() as db:
            if not outbox.anything_due(db, process_id=process_id, busy=busy, patience=COMMITMENT_PATIENCE):
                return
        with database.begin() as db:
            outbox.put_back(db, process_id=process_id, busy=busy)
            outbox.overdue(db, older_than=COMMITMENT_PATIENCE)
            taken = outbox.claim(db, process_id=process_id, busy=busy)
        for row in taken:
            with self._lock:
                self._busy.add(row["destination"])
            threading.Thread(target=self._send, args=(row,), name="sending", daemon=True).start()

    def _send(self, row: sa.RowMapping) -> None:
        destination, began_at = self._destinations.get(row["destination"]), now()
        try:
            if destination is None:
                told = self._stop(row, "no-such-destination", "The settings no longer name this destination.")
            else:
                told = self._try(row, destination)
            self._note(row, began_at, *told)
        except Exception:  # whatever it is: ``look`` finds what was left and has it tried again
            log.error("A delivery met a fault of ours", reading_id=row["reading_id"], exc_info=True)
        finally:
            with self._lock:
                self._busy.discard(row["destination"])

    def _try(self, row: sa.RowMapping, destination: Destination) -> tuple[str, str]:
        """Send it; returns what became of it, and the code of what stood against it."""
        try:
            receipt = destination.deliver(self._shipment(row))
        except RetryLater as fault:
            return self._postpone(row, fault.code, str(fault))
        except PneumoscopeError as fault:
            ours = fault.code in (*AWAY, "store-unwritable")  # the file store's fault, not the destination's
            return (self._postpone if ours else self._stop)(row, fault.code, str(fault))
        except FileNotFoundError:
            return self._stop(row, "results-gone", "The results are no longer in the file store.")
        except Exception as fault:  # noqa: BLE001  a process boundary: whatever a peer provoked, the delivery waits
            return self._postpone(row, "bug", f"It failed by a fault of ours ({type(fault).__name__}).")
        return self._settle(row, receipt)

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

    def _settle(self, row: sa.RowMapping, receipt: Receipt) -> tuple[str, str]:
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
        return str(state), ""

    def _postpone(self, row: sa.RowMapping, code: str, message: str) -> tuple[str, str]:
        self._bench.store.database.insist(lambda db: outbox.postpone(db, row["id"], code=code, message=message))
        return "postponed", code

    def _stop(self, row: sa.RowMapping, code: str, message: str) -> tuple[str, str]:
        self._bench.store.database.insist(lambda db: outbox.stop(db, row["id"], code=code, message=message))
        return "stopped", code

    def _note(self, row: sa.RowMapping, began_at: datetime, outcome: str, code: str) -> None:
        DELIVERIES.labels(destination=row["destination"], outcome=outcome).inc()
        log.info(
            "A delivery was tried", destination=row["destination"], outcome=outcome, code=code, reading_id=row["reading_id"]
        )
        what: dict[str, tracing.Value] = {
            "destination": row["destination"],
            "attempt": row["attempts"],
            "round": row["round"],
            "outcome": outcome,
        }
        what["of"] = "answer" if row["review_id"] else "reading"
        tracing.note(row["reading_id"], "deliver", began_at, now(), what, code=code)
