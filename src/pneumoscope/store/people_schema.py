"""Tables of people, in the manner of ``schema.py``: who logs in, from where, and who reads together."""

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Index, Integer, String

from pneumoscope.store.schema import Moment, metadata, text, uid

#: People who log in. A local account has no issuer, and its login name in lower case as subject; one of OpenID Connect has what
#: its provider calls it by.
account = sa.Table(
    "account",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("issuer", String(300), nullable=False, server_default=""),
    Column("subject", String(255), nullable=False),
    text("login"),  # as it was given
    text("name"),  # as others call the person
    text("password_hash"),  # argon2; none where a provider asks for the password
    Column("must_change", sa.Boolean, nullable=False),  # the password, before anything else
    Column("disabled", sa.Boolean, nullable=False),
    Column("roles", sa.JSON, nullable=False),  # [role, ...]
    Column("created_at", Moment, nullable=False),
    Column("last_login_at", Moment),
    sa.UniqueConstraint("issuer", "subject"),
)

#: A browser that someone has logged in with.
session = sa.Table(
    "session",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("token_hash", String(64), nullable=False, unique=True),  # of what its cookie holds
    Column("account_id", String(36), ForeignKey("account.id"), nullable=False, index=True),
    text("address"),
    text("agent"),
    Column("created_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
)

#: Tries to log in that failed, by what they have in common; a row that has been quiet for long enough counts no more.
attempt = sa.Table(
    "attempt",
    metadata,
    Column("key", String(64), primary_key=True),  # a hash: what was typed may be a password in the wrong field
    Column("failures", Integer, nullable=False),
    Column("last_at", Moment, nullable=False),
)

#: A study that people read together; the row goes when its host ends it or some time after it is over.
meeting = sa.Table(
    "meeting",
    metadata,
    Column("id", String(36), primary_key=True),
    uid("StudyInstanceUID", nullable=False),
    Column("invite_hash", String(64), nullable=False),  # of what its link holds
    Column("host", String(200), nullable=False),  # an account, or a program by its name
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
)
Index("ix_meeting_host_StudyInstanceUID", meeting.c.host, meeting.c.StudyInstanceUID)
