"""Tables of a node in a fleet, in the manner of ``schema.py``. Nothing of ``observation`` or ``verdict`` leaves the site."""

import sqlalchemy as sa
from sqlalchemy import Column, Float, Integer, String

from pneumoscope.store.schema import Moment, metadata, text, uid

#: What was decided about the models in service, each row with the state that it led to; the latest holds. Only ever added to.
service_act = sa.Table(
    "service_act",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Moment, nullable=False),
    Column("act", String(20), nullable=False),  # begin, release, candidate, promote, back, stop, resume, withdraw, limits
    text("actor"),  # a person, the stop rule, or the hub
    text("second"),  # the other person, where it takes two
    text("reason"),
    text("rollout"),
    text("model"),  # name and version of the one in service; empty: that of the settings
    Column("mode", String(16), nullable=False),
    text("candidate"),
    text("previous"),  # what a roll-back leads to
    #: The site's own limits for a study's categories; null: those of the model.
    Column("no_sign_below", Float),
    Column("sign_from", Float),
)

#: One reading of one study by one model, shown or not, with what is known of its input.
observation = sa.Table(
    "observation",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("reading_id", String(36), nullable=False),
    uid("StudyInstanceUID", nullable=False, index=True),
    text("model"),
    text("device_uid"),
    Column("role", String(16), nullable=False),  # present, candidate
    Column("mode", String(16), nullable=False),  # shadow, live, stopped: of the model in service then
    Column("outcome", String(16), nullable=False),  # read, refused, failed
    text("code"),
    Column("probability", Float),
    Column("category", String(20), nullable=False, server_default=""),  # as in fleet.messages.Answer
    Column("involved_share", Float),
    Column("reading_s", Float),
    Column("wait_s", Float),  # from the last image, of the model in service
    Column("features", sa.JSON, nullable=False),  # by names of fleet.messages.EDGES (numbers) and WORDS (words)
    Column("at", Moment, nullable=False, index=True),
    sa.UniqueConstraint("reading_id", "role", "model"),
)

#: What people said of a study without having seen what a model said.
verdict = sa.Table(
    "verdict",
    metadata,
    Column("id", String(36), primary_key=True),
    uid("StudyInstanceUID", nullable=False, index=True),
    text("reader"),
    Column("category", String(20), nullable=False),
    Column("source", String(16), nullable=False),  # page, report
    Column("at", Moment, nullable=False),
)

#: What has been told to the hub, or is to be.
fleet_window = sa.Table(
    "fleet_window",
    metadata,
    Column("start", Moment, primary_key=True),
    Column("end", Moment, nullable=False),
    Column("content", sa.JSON, nullable=False),
    Column("kept_at", Moment),  # the hub has it
)

#: What a watch found and has not gone away; ``site`` is empty for this one.
alarm = sa.Table(
    "alarm",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("site", String(36), nullable=False, server_default="", index=True),
    Column("kind", String(20), nullable=False),
    text("subject"),
    Column("value", Float, nullable=False, server_default="0"),
    Column("limit", Float, nullable=False, server_default="0"),
    Column("since", Moment, nullable=False),
    Column("ended_at", Moment),
)
