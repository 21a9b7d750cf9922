"""From what the reader left in the file store to rows of the database."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pneumoscope.records import Study
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


def as_filed(store: Store, row: sa.RowMapping, answer: dict[str, Any]) -> FiledResults:
    """Rows for the results of the reading ``row`` that an answer of the reader names. Raises FileNotFoundError."""
    parcels, objects = [], []
    for item in answer["parcels"]:
        key, facts = result_key(row["id"], item["name"]), item["facts"]
        size_bytes = store.files.path(key).stat().st_size
        if facts:
            objects.append(as_filed_object(row["id"], row["StudyInstanceUID"], key, facts))
        parcels.append(
            StoredParcel(
                name=item["name"],
                media_type=item["media_type"],
                key=key,
                size_bytes=size_bytes,
                SOPInstanceUID=facts.get("SOPInstanceUID", ""),
            )
        )
    return FiledResults(summary=Summary(**answer["summary"]), parcels=tuple(parcels), objects=tuple(objects))


def as_filed_object(reading_id: str, StudyInstanceUID: str, key: str, facts: Mapping[str, Any]) -> Filed:
    """The row of an object of ours that lies at ``key``, of a study that is known."""
    return Filed(**facts, study=Study(StudyInstanceUID=StudyInstanceUID), key=key, received_at=now(), reading_id=reading_id)
