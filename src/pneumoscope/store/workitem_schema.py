"""Tables of work items and of who is told of them, in the manner of ``schema.py``."""

import sqlalchemy as sa
from sqlalchemy import Column, Index, Integer, String

from pneumoscope.store.schema import Moment, metadata, uid

#: A Unified Procedure Step; its states are those of the standard, in ``ups/states.py``.
workitem = sa.Table(
    "workitem",
    metadata,
    uid("SOPInstanceUID", primary_key=True),
    Column("state", String(16), nullable=False, index=True),
    uid("transaction_uid", nullable=False, server_default=""),  # empty until it is claimed
    Column("content", sa.JSON, nullable=False),  # DICOM JSON, without Procedure Step State and Transaction UID
    #: Whether it waits for a performer of our code; ``StudyInstanceUID`` is that of its input, empty for none or many.
    Column("wanted", sa.Boolean, nullable=False),
    uid("StudyInstanceUID", nullable=False, server_default="", index=True),
    #: The reading that carries it out, where this node has claimed it.
    Column("reading_id", String(36), index=True),
    Column("shown", String(16), nullable=False, server_default=""),  # the state of that reading that it tells of
    Column("created_at", Moment, nullable=False),
    Column("modified_at", Moment, nullable=False, index=True),
)
#: The same of work items that wait for this node. Each database finds the index by the condition as it is written in queries.
Index(
    "ix_workitem_wanted",
    workitem.c.created_at,
    sqlite_where=workitem.c.wanted == sa.true(),
    postgresql_where=workitem.c.wanted,
)

#: Who is told of what: one work item, or every one to come (the well-known UIDs), there perhaps only what matches ``keys``.
subscription = sa.Table(
    "subscription",
    metadata,
    Column("ae_title", String(16), primary_key=True),
    uid("SOPInstanceUID", primary_key=True),
    Column("keys", sa.JSON, nullable=False),
)
Index("ix_subscription_SOPInstanceUID", subscription.c.SOPInstanceUID)

#: Event reports for one subscriber each, in the order of their numbers; how far it has been told is a ``mark``.
event = sa.Table(
    "event",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("ae_title", String(16), nullable=False),
    Column("content", sa.JSON, nullable=False),
    Column("at", Moment, nullable=False, index=True),
    sqlite_autoincrement=True,  # a number is never given twice
)
Index("ix_event_ae_title_id", event.c.ae_title, event.c.id)
