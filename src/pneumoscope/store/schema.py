"""The tables. What each holds, who writes it, and which states a row goes through; queries are in the modules beside.

An element of a DICOM object keeps its keyword as the column's name. Moments are UTC. States are words, listed here once.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Float, ForeignKey, Index, Integer, String, Table, Text


class StudyState(StrEnum):
    """Where a study stands, for people; the state of its latest reading once there is one."""

    ARRIVING = "arriving"
    WAITING = "waiting"
    READING = "reading"
    READ = "read"
    HELD = "held"  # read, and not shown: the model in service is not released, or was taken out of service
    REFUSED = "refused"  # can never be read as it is; the reason stands beside
    FAILED = "failed"  # an operator is needed


class ReadingState(StrEnum):
    """Life of one reading; a later version supersedes it without changing its state."""

    WAITING = "waiting"
    RUNNING = "running"
    READ = "read"
    HELD = "held"
    REFUSED = "refused"
    FAILED = "failed"


class DeliveryState(StrEnum):
    """Life of one parcel post: results of one reading to one destination."""

    WAITING = "waiting"  # until ``due_at``
    SENDING = "sending"  # claimed by a process
    PENDING = "pending"  # stored there; storage commitment asked, not yet answered
    DELIVERED = "delivered"
    CONFIRMED = "confirmed"  # the destination vouches for it
    STOPPED = "stopped"  # an operator is needed; can be resent
    CANCELLED = "cancelled"


class BuildState(StrEnum):
    """Life of the DICOM object that an answer is made into."""

    WAITING = "waiting"  # until ``due_at``
    MADE = "made"
    STOPPED = "stopped"  # it could not be made for days, or never will be


class CommitmentState(StrEnum):
    """Life of a storage commitment that a sender asked of us."""

    WAITING = "waiting"
    ANSWERED = "answered"
    STOPPED = "stopped"


class ProcessState(StrEnum):
    """A process that beats, or one that was found dead."""

    ALIVE = "alive"
    GONE = "gone"


class Moment(sa.TypeDecorator[datetime]):
    """An aware datetime, kept as naive UTC, since SQLite knows no time zones."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """To naive UTC."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """To aware UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)


def uid(name: str, *constraints: ForeignKey, **options: Any) -> Column[str]:  # noqa: ANN401 - those of a Column
    """A column of a DICOM UID."""
    return Column(name, String(64), *constraints, **options)


def text(name: str) -> Column[str]:
    """A column of any text, empty by default."""
    return Column(name, Text, nullable=False, server_default="")


study = Table(
    "study",
    metadata,
    uid("StudyInstanceUID", primary_key=True),
    *(
        text(name)
        for name in (
            "PatientName",
            "PatientID",
            "PatientBirthDate",
            "PatientSex",
            "PatientAge",
            "StudyDate",
            "StudyTime",
            "StudyID",
            "AccessionNumber",
            "StudyDescription",
            "ReferringPhysicianName",
        )
    ),
    Column("state", String(16), nullable=False, index=True),
    text("code"),
    text("message"),
    Column("priority", Integer, nullable=False),
    #: Grows with every batch of new images; a reading is of one revision.
    Column("revision", Integer, nullable=False),
    Column("taken_revision", Integer, nullable=False, server_default="0"),
    Column("first_image_at", Moment, nullable=False),
    Column("last_image_at", Moment, nullable=False),
    #: The longest pause between two of its images so far, in seconds: how its sender behaves.
    Column("longest_pause_s", Float, nullable=False, server_default="0"),
    Column("size_bytes", sa.BigInteger, nullable=False, server_default="0"),
    #: Its place in the worklist; smaller comes first. `urgency.py` says how it comes about.
    Column("rank", Integer, nullable=False, server_default="0"),
)
Index("ix_study_last_image_at", study.c.last_image_at)
Index("ix_study_rank", study.c.rank, study.c.first_image_at, study.c.StudyInstanceUID)
Index("ix_study_PatientID", study.c.PatientID)
#: Every worker asks four times a second for studies that nobody has taken, and few are.
_untaken = study.c.revision > study.c.taken_revision
Index("ix_study_untaken", study.c.priority, study.c.first_image_at, sqlite_where=_untaken, postgresql_where=_untaken)

series = Table(
    "series",
    metadata,
    uid("SeriesInstanceUID", primary_key=True),
    uid("StudyInstanceUID", nullable=False, index=True),
    *(text(name) for name in ("Modality", "SeriesDescription", "BodyPartExamined", "Manufacturer")),
    Column("SeriesNumber", Integer),
)

image = Table(
    "image",
    metadata,
    uid("SOPInstanceUID", primary_key=True),
    uid("SeriesInstanceUID", nullable=False, index=True),
    uid("StudyInstanceUID", nullable=False, index=True),
    uid("SOPClassUID", nullable=False),
    uid("TransferSyntaxUID", nullable=False),
    *(Column(name, Integer) for name in ("InstanceNumber", "Rows", "Columns", "NumberOfFrames")),
    Column("key", Text, nullable=False),  # in the file store
    Column("sha256", String(64), nullable=False),  # of the dataset as received, without preamble and file meta
    Column("size_bytes", sa.BigInteger, nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("arrival_id", String(36), index=True),
    Column("reading_id", String(36), index=True),  # where it is a result of ours
)

#: Objects that were taken and could not be filed: unreadable, or another object under a known UID. Kept, with their reason.
set_aside = Table(
    "set_aside",
    metadata,
    Column("id", String(36), primary_key=True),
    uid("StudyInstanceUID", nullable=False, server_default="", index=True),
    uid("SOPInstanceUID", nullable=False, server_default=""),
    Column("key", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size_bytes", sa.BigInteger, nullable=False),
    text("code"),
    text("message"),
    Column("received_at", Moment, nullable=False),
    Column("arrival_id", String(36)),
)

#: One association, request, upload or pass over a watched folder: who brought what. Open while
#: ``closed_at`` is null or to come.
arrival = Table(
    "arrival",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("process_id", String(80), nullable=False, index=True),
    Column("channel", String(16), nullable=False),  # dicom, stow, upload, folder, backfill
    text("sender"),  # calling AE title, user, folder
    text("address"),
    Column("opened_at", Moment, nullable=False),
    Column("closed_at", Moment),
)

#: How many images a study should have, as told by MPPS, by an Instance Availability Notification, or by the PACS when asked.
expectation = Table(
    "expectation",
    metadata,
    uid("StudyInstanceUID", primary_key=True),
    Column("images", Integer),  # null: asked, and not known
    Column("source", String(16), nullable=False),
    Column("at", Moment, nullable=False),
)

reading = Table(
    "reading",
    metadata,
    Column("id", String(36), primary_key=True),
    uid("StudyInstanceUID", ForeignKey("study.StudyInstanceUID"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    text("code"),
    text("message"),
    Column("priority", Integer, nullable=False),
    Column("process_id", String(80)),
    #: Null until the workflow that carries it out is in the queue.
    Column("workflow_id", String(80)),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("due_at", Moment, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("finished_at", Moment),
    Column("last_image_at", Moment, nullable=False),
    Column("probability", Float),
    text("category"),
    text("headline"),
    Column("involved_share", Float),
    Column("right_share", Float),
    Column("left_share", Float),
    Column("severity_points", Integer),
    text("model"),
    text("device_uid"),
    #: Whether a work item shows it.
    Column("listed", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.UniqueConstraint("StudyInstanceUID", "version"),
)
#: Every worker asks four times a second for readings that no work item shows yet.
_unlisted = sa.not_(reading.c.listed)
Index("ix_reading_unlisted", reading.c.created_at, sqlite_where=_unlisted, postgresql_where=_unlisted)

#: The stored results of a reading, each a file; or of an answer to it, where ``review_id`` is not empty.
parcel = Table(
    "parcel",
    metadata,
    Column("reading_id", String(36), ForeignKey("reading.id"), primary_key=True),
    Column("review_id", String(36), primary_key=True, server_default=""),
    Column("name", String(80), primary_key=True),
    Column("media_type", String(80), nullable=False),
    Column("key", Text, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    uid("SOPInstanceUID", nullable=False, server_default=""),
)

delivery = Table(
    "delivery",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("reading_id", String(36), ForeignKey("reading.id"), nullable=False, index=True),
    Column("review_id", String(36), nullable=False, server_default=""),  # not empty: what an answer was made into
    Column("destination", String(80), nullable=False),
    Column("round", Integer, nullable=False),  # 1, and one more for each time a person asks for it again
    Column("state", String(16), nullable=False, index=True),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("due_at", Moment, nullable=False),
    Column("process_id", String(80)),
    text("code"),
    text("message"),
    uid("transaction_uid", nullable=False, server_default="", index=True),
    Column("created_at", Moment, nullable=False),
    Column("done_at", Moment),
    sa.UniqueConstraint("reading_id", "review_id", "destination", "round"),
)

#: What people answer to readings. Only ever added to: triggers refuse the rest. It outlives the study and repeats what is
#: needed of it, since answers are data for whoever makes the model.
review = Table(
    "review",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("reading_id", String(36), nullable=False),
    Column("number", Integer, nullable=False),  # among the answers to this reading, from 1
    uid("StudyInstanceUID", nullable=False, index=True),
    Column("version", Integer, nullable=False),  # of the reading, as the next five
    text("model"),
    text("device_uid"),
    Column("probability", Float),
    text("found_category"),
    text("site"),  # AE title that sent the study, or the way that it came
    text("reader"),
    Column("judgement", String(16), nullable=False),
    Column("objection", String(40), nullable=False, server_default=""),
    text("text"),
    text("category"),  # corrected; empty: as found
    Column("added", sa.JSON, nullable=False),  # zones
    Column("removed", sa.JSON, nullable=False),
    Column("at", Moment, nullable=False, index=True),
    Column("supersedes", String(36), index=True),  # the reader's answer before this one
    sa.UniqueConstraint("reading_id", "number"),
)

#: The DICOM object to be made of each answer; noted in the same transaction as the answer.
assessment = Table(
    "assessment",
    metadata,
    Column("review_id", String(36), ForeignKey("review.id"), primary_key=True),
    Column("state", String(16), nullable=False, index=True),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("due_at", Moment, nullable=False),
    text("code"),
    text("message"),
)

commitment = Table(
    "commitment",
    metadata,
    Column("id", String(36), primary_key=True),
    uid("transaction_uid", nullable=False),
    text("sender"),  # AE title that asked
    text("address"),
    Column("items", sa.JSON, nullable=False),  # [[SOPClassUID, SOPInstanceUID], ...]
    Column("state", String(16), nullable=False, index=True),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("due_at", Moment, nullable=False),
    Column("received_at", Moment, nullable=False),
    text("code"),
    sa.UniqueConstraint("sender", "transaction_uid"),
)

process = Table(
    "process",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("kind", String(16), nullable=False),
    text("host"),
    Column("pid", Integer, nullable=False),
    text("version"),
    Column("state", String(16), nullable=False, index=True),
    Column("started_at", Moment, nullable=False),
    #: Grows while the process lives. Others watch that it grows, by their own clock, so that no clock has to be right.
    Column("beat", Integer, nullable=False),
)

#: Only ever added to: triggers refuse the rest.
audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Moment, nullable=False, index=True),
    text("actor"),
    text("address"),
    Column("action", String(40), nullable=False),
    Column("outcome", String(16), nullable=False),
    uid("StudyInstanceUID", nullable=False, server_default="", index=True),
    text("detail"),
)

#: How far a reader of the audit trail, or of event reports, has come; and, on SQLite, how often what the worklist shows has
#: changed, which triggers count (on PostgreSQL they notify).
mark = Table(
    "mark",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", Integer, nullable=False),
)
