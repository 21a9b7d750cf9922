"""Tables of reading for another hospital: the hub's, then a node's as the owner of a study and as the one that reads it."""

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Index, String, Text

from pneumoscope.store.schema import Moment, metadata, text, uid

#: At the hub: that the administrators of ``site`` agreed with ``partner``. A site that shares readings agrees with itself.
pool_consent = sa.Table(
    "pool_consent",
    metadata,
    Column("site", String(36), ForeignKey("site.id"), primary_key=True),
    Column("partner", String(36), primary_key=True),
    Column("at", Moment, nullable=False),
)

#: At the hub: a task on its way. Nothing of the patient, nor of the study.
pool_task = sa.Table(
    "pool_task",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("owner", String(36), ForeignKey("site.id"), nullable=False, index=True),
    Column("urgency", String(16), nullable=False),
    Column("images", String(16), nullable=False),
    Column("until", Moment, nullable=False),
    Column("state", String(16), nullable=False),  # open, taken, invited; then messages.Outcome
    Column("taker", String(36), nullable=False, server_default="", index=True),
    Column("certificate", Text, nullable=False, server_default=""),  # of the taker
    Column("sealed", sa.JSON),  # messages.Sealed
    Column("changed_at", Moment, nullable=False),
)

#: At a node: hospitals that its administrators agreed with.
pool_partner = sa.Table(
    "pool_partner",
    metadata,
    Column("site", String(36), primary_key=True),
    text("title"),
    text("actor"),
    Column("agreed_at", Moment, nullable=False),
)

#: At a node: its own studies that others may read, and the guest's right to one.
pool_offer = sa.Table(
    "pool_offer",
    metadata,
    Column("id", String(36), primary_key=True),
    uid("StudyInstanceUID", nullable=False, index=True),
    Column("urgency", String(16), nullable=False),
    Column("images", String(16), nullable=False),
    text("actor"),
    Column("created_at", Moment, nullable=False),
    Column("until", Moment, nullable=False),
    Column("state", String(16), nullable=False, index=True),  # open, invited, opened; then messages.Outcome
    Column("taker", String(36), nullable=False, server_default=""),
    text("taker_title"),
    Column("secret_hash", String(64), nullable=False, server_default=""),  # of the link
    Column("session_hash", String(64), nullable=False, server_default="", index=True),  # of the guest's browser
    Column("sealed", sa.JSON),  # messages.Sealed
    Column("ended_at", Moment),
)

#: At a node: tasks of others that its readers took.
pool_take = sa.Table(
    "pool_take",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("owner", String(36), nullable=False),
    text("owner_title"),
    Column("urgency", String(16), nullable=False),
    Column("images", String(16), nullable=False),
    Column("until", Moment, nullable=False),
    text("actor"),
    Column("taken_at", Moment, nullable=False),
    Column("state", String(16), nullable=False),  # asked, invited, opened; then lost, or messages.Outcome
    Column("link", Text, nullable=False, server_default=""),
    Column("ended_at", Moment),
    Index("ix_pool_take_actor", "actor"),
)
