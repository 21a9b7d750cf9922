"""Makes a DICOM object of each answer that a person gave, files it beside the study and posts it.

The order to do so was noted with the answer. Whoever dies here leaves it to another, who makes the same bytes.
"""

from io import BytesIO

import sqlalchemy as sa
import structlog
from pydicom import dcmread

from pneumoscope.config import Hl7Destination
from pneumoscope.delivery import DICOM_MEDIA_TYPE
from pneumoscope.errors import OperatorNeeded, RetryLater
from pneumoscope.records import Assessment, Parcel
from pneumoscope.store import arrivals, outbox, readings, reviews
from pneumoscope.store.arrivals import Filed
from pneumoscope.store.files import result_key
from pneumoscope.store.readings import StoredParcel
from pneumoscope.worker.facts import facts
from pneumoscope.worker.results import as_filed_object
from pneumoscope.worker.workflow import Bench

OBJECT = "assessment.dcm"
log = structlog.get_logger()


class Assessing:
    """Every worker looks; the rows decide who makes what."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def look(self) -> None:
        """Make what is due, one after the other."""
        database = self._bench.store.database
        while True:
            with database.look() as db:
                if not reviews.anything_due(db):
                    return
            with database.begin() as db:
                review_id = reviews.claim(db)
            if review_id is None:
                return
            self._make(review_id)

    def _make(self, review_id: str) -> None:
        try:
            self._file(review_id)
        except FileNotFoundError:
            self._postpone(review_id, "results-gone", "The results are no longer in the file store.", for_ever=True)
        except (OperatorNeeded, RetryLater) as fault:
            self._postpone(review_id, fault.code, str(fault))
        except Exception as fault:  # noqa: BLE001  one answer must not hold up those behind it
            self._postpone(review_id, "bug", f"It failed by a fault of ours ({type(fault).__name__}).")

    def _postpone(self, review_id: str, code: str, message: str, *, for_ever: bool = False) -> None:
        log.error("No object could be made of an answer", review_id=review_id, code=code)
        self._bench.store.database.insist(
            lambda db: reviews.postpone(db, review_id, code=code, message=message, for_ever=for_ever)
        )

    def _file(self, review_id: str) -> None:
        store = self._bench.store
        with store.database.look() as db:
            row = reviews.get(db, review_id)
            reading_id = row["reading_id"]
            StudyInstanceUID = readings.get(db, reading_id)["StudyInstanceUID"]
            keys = {found.name: found.key for found in readings.parcels(db, reading_id)}
        parcels = self._built(reviews.as_assessment(row), keys)
        for parcel in parcels:
            store.files.put(result_key(review_id, parcel.name), parcel.content)
        key = result_key(review_id, OBJECT)
        filed = as_filed_object(reading_id, StudyInstanceUID, key, facts(store.files.path(key)))

        def work(db: sa.Connection) -> bool:
            if not reviews.made(db, review_id):
                return False
            readings.add_parcels(db, reading_id, [_stored(review_id, p, filed) for p in parcels], review_id=review_id)
            arrivals.file_images(db, [filed])
            outbox.post(db, reading_id, self._destinations(), review_id=review_id)
            return True

        if store.database.insist(work):
            log.info("An answer was made into an object", review_id=review_id, reading_id=reading_id)

    def _built(self, assessment: Assessment, keys: dict[str, str]) -> list[Parcel]:
        # they take long to import and only a node with readers of flesh and blood needs them
        from pneumoscope.results.assessment import build_assessment
        from pneumoscope.results.assessment_fhir import build_assessment_bundle
        from pneumoscope.results.encode import encode

        findings = dcmread(BytesIO(self._read(keys, "sr.dcm")))
        bundle = Parcel(name="fhir.json", media_type="", content=self._read(keys, "fhir.json"))
        return [
            Parcel(name=OBJECT, media_type=DICOM_MEDIA_TYPE, content=encode(build_assessment(assessment, findings))),
            build_assessment_bundle(assessment, bundle),
        ]

    def _read(self, keys: dict[str, str], name: str) -> bytes:
        if name not in keys:
            raise FileNotFoundError(name)
        return self._bench.store.files.read(keys[name])

    def _destinations(self) -> list[str]:
        """All but HL7 listeners, whose message is the reading's alone."""
        return [given.name for given in self._bench.settings.destinations if not isinstance(given, Hl7Destination)]


def _stored(review_id: str, parcel: Parcel, filed: Filed) -> StoredParcel:
    return StoredParcel(
        name=parcel.name,
        media_type=parcel.media_type,
        key=result_key(review_id, parcel.name),
        size_bytes=len(parcel.content),
        SOPInstanceUID=filed.SOPInstanceUID if parcel.name == OBJECT else "",
    )
