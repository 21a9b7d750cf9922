"""From what the reader left in the file store to rows of the database."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import sqlalchemy as sa

from pneumoscope.delivery import DICOM_MEDIA_TYPE
from pneumoscope.intake.headers import read_header
from pneumoscope.store import Store, arrivals, now
from pneumoscope.store.arrivals import Filed
from pneumoscope.store.files import result_key
from pneumoscope.store.readings import StoredParcel, Summary


@dataclass(frozen=True, kw_only=True)
class FiledResults:
    """Results of a reading; the DICOM objects among them belong to the study, as images do."""

    summary: Summary
    parcels: tuple[StoredParcel, ...]
    objects: tuple[Filed, ...]

    def file(self, db: sa.Connection) -> None:
        """List the DICOM objects beside the study's images, where viewers find them."""
        arrivals.file_images(db, self.objects)


def as_filed(store: Store, reading_id: str, answer: dict[str, Any]) -> FiledResults:
    """Rows for the results that an answer of the reader names."""
    parcels, objects = [], []
    for item in answer["parcels"]:
        key = result_key(reading_id, item["name"])
        path = store.files.path(key)
        size_bytes, SOPInstanceUID = path.stat().st_size, ""
        if item["media_type"] == DICOM_MEDIA_TYPE:
            found = as_filed_object(store, reading_id, key)
            SOPInstanceUID = found.SOPInstanceUID
            objects.append(found)
        parcels.append(
            StoredParcel(
                name=item["name"], media_type=item["media_type"], key=key, size_bytes=size_bytes, SOPInstanceUID=SOPInstanceUID
            )
        )
    return FiledResults(summary=Summary(**answer["summary"]), parcels=tuple(parcels), objects=tuple(objects))


def as_filed_object(store: Store, reading_id: str, key: str) -> Filed:
    """The row of an object of ours that lies at ``key``."""
    path = store.files.path(key)
    header = read_header(path)
    assert header.study is not None and header.instances, "our own results can be read"
    one = header.instances[0]
    return Filed(
        study=header.study,
        SeriesInstanceUID=one.SeriesInstanceUID,
        SOPInstanceUID=one.SOPInstanceUID,
        SOPClassUID=one.SOPClassUID,
        TransferSyntaxUID=one.TransferSyntaxUID,
        Modality=one.Modality,
        SeriesDescription=one.SeriesDescription,
        Manufacturer=one.Manufacturer,
        SeriesNumber=one.SeriesNumber,
        InstanceNumber=one.InstanceNumber,
        Rows=one.Rows or None,
        Columns=one.Columns or None,
        key=key,
        sha256=sha256(path.read_bytes()).hexdigest(),
        size_bytes=path.stat().st_size,
        received_at=now(),
        reading_id=reading_id,
    )
