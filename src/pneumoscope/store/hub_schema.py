"""Tables of a hub, in the manner of ``schema.py``: the sites of its fleet, what they report, what they are to run.

A count that a site hid stands as a range: its least in the column of its name, its most in the one with ``_most``; some have a
likely value too.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, String, Text

from pneumoscope.store.schema import Moment, metadata, text


def _counts(*names: str, ends: tuple[str, ...] = ("", "_most")) -> list[Column[Any]]:
    return [Column(name + end, Integer, nullable=False, server_default="0") for name in names for end in ends]


#: A hospital: invited, joined, perhaps shut out; with what it said last.
site = sa.Table(
    "site",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("title", String(80), nullable=False, unique=True),
    Column("province", String(80), nullable=False, index=True),
    Column("invited_at", Moment, nullable=False),
    Column("joined_at", Moment),
    Column("shut_at", Moment),
    text("serial"),  # of its certificate, hexadecimal
    text("next_serial"),  # of one that was renewed and not shown yet
    Column("certificate_until", Moment),
    Column("heard_at", Moment, index=True),
    Column("windows_until", Moment),  # where its last window ended, and none may begin before
    Column("health", sa.JSON),
    Column("service", sa.JSON),
    text("model"),
    Column("mode", String(16), nullable=False, server_default=""),
    text("candidate"),
    Column("ready", Boolean),
    Column("waiting", Integer),  # studies; null: 1 to 4
    text("software"),
)

#: A token that was given out, by the digest of its secret.
invitation = sa.Table(
    "invitation",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("site", String(36), ForeignKey("site.id"), nullable=False, index=True),
    Column("made_at", Moment, nullable=False),
    Column("until", Moment, nullable=False),
    Column("used_at", Moment),
)

#: A closed window of a site as it came first; never changed.
site_window = sa.Table(
    "site_window",
    metadata,
    Column("site", String(36), ForeignKey("site.id"), primary_key=True),
    Column("start", Moment, primary_key=True),
    Column("end", Moment, nullable=False),
    Column("day", String(10), nullable=False, index=True),  # of its start, UTC
    Column("received_at", Moment, nullable=False),
    Column("content", Text, nullable=False),  # messages.Window
)

#: The figures of one model in one window.
window_total = sa.Table(
    "window_total",
    metadata,
    Column("site", String(36), ForeignKey("site.id"), primary_key=True),
    Column("start", Moment, primary_key=True),
    Column("number", Integer, primary_key=True),  # among the window's models; 0 holds the window's studies
    Column("end", Moment, nullable=False),
    Column("day", String(10), nullable=False),
    text("model"),
    Column("role", String(16), nullable=False),
    Column("mode", String(16), nullable=False),
    *_counts("studies", "read", "sign", "indeterminate", "no_sign", "cannot_say", "refused", "failed"),
    *_counts("involved"),  # with at least a quarter of the lung
    *_counts("answers", "agreed", "pairs", "same"),
    *_counts("sign", "involved", "agreed", "same", ends=("_likely",)),
    *_counts("untold", ends=("",)),  # 1 where all numbers of its readings are hidden; then they are in no sum
    Column(
        "difference_sum", Float, nullable=False, server_default="0"
    ),  # of scores, candidate minus present, by middles of bins
    Column("differences", Integer, nullable=False, server_default="0"),  # how many it is of
    Index("ix_window_total_day", "day", "role"),
    Index("ix_window_total_model", "model", "role", "end"),
)

#: The sums of a province's windows of a day, kept as they come, so that a page of the whole fleet reads few rows.
province_day = sa.Table(
    "province_day",
    metadata,
    Column("province", String(80), primary_key=True),
    Column("day", String(10), primary_key=True),
    *_counts("studies", "read", "sign", "indeterminate", "no_sign", "cannot_say", "refused", "failed", "involved"),
    *_counts("answers", "agreed"),
    *_counts("sign", "involved", "agreed", ends=("_likely",)),
    *_counts("untold", ends=("",)),
)

#: A signed model that sites may fetch.
offer = sa.Table(
    "offer",
    metadata,
    Column("sha256", String(64), primary_key=True),  # of the zip
    Column("model", String(140), nullable=False, unique=True),  # name and version
    Column("device_uid", String(64), nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("key", Text, nullable=False),  # in the file store
    text("signer"),
    Column("offered_at", Moment, nullable=False),
)

#: A model that is to be in service nowhere, until the stop is lifted.
stop = sa.Table(
    "stop",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("model", String(140), nullable=False, index=True),  # name and version
    text("reason"),  # which readers everywhere are shown
    text("actor"),
    Column("at", Moment, nullable=False),
    text("lifted_by"),
    Column("lifted_at", Moment),
)

#: One model on its way through the fleet, stage by stage.
rollout = sa.Table(
    "rollout",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("sha256", String(64), ForeignKey("offer.sha256"), nullable=False),
    Column("model", String(140), nullable=False),
    Column("state", String(16), nullable=False),  # running, paused, done, back
    Column("shares", sa.JSON, nullable=False),  # of all sites, once each stage after the canaries is done; the last is 1
    Column("stage", Integer, nullable=False),  # 0: the canaries
    Column("phase", String(16), nullable=False),  # shadow, live
    Column("phase_since", Moment, nullable=False),
    Column("evidence_since", Moment, nullable=False),  # windows that end later count for the gate
    Column("started_at", Moment, nullable=False),
    Column("changed_at", Moment, nullable=False),
    text("reason"),  # why it is paused or back
)

#: What a roll-out wants of a site, and what the site said of it.
rollout_site = sa.Table(
    "rollout_site",
    metadata,
    Column("rollout", String(36), ForeignKey("rollout.id"), primary_key=True),
    Column("site", String(36), ForeignKey("site.id"), primary_key=True),
    Column("stage", Integer, nullable=False),
    Column("wish", String(16), nullable=False, server_default=""),  # messages.WishKind; empty: nothing yet
    Column("wish_since", Moment),
    Column("out", Boolean, nullable=False, server_default=sa.false()),  # a person took the site out; it is asked no more
    Column("told", String(16), nullable=False, server_default=""),  # messages.WishStage
    text("code"),
    Column("told_at", Moment),
    Index("ix_rollout_site_site", "site"),
)

#: What was decided in a roll-out, by whom or by which gate; only ever added to.
rollout_act = sa.Table(
    "rollout_act",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("rollout", String(36), ForeignKey("rollout.id"), nullable=False, index=True),
    Column("at", Moment, nullable=False),
    text("actor"),
    Column("act", String(16), nullable=False),
    Column("stage", Integer, nullable=False),
    text("reason"),
)
