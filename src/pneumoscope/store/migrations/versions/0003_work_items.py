"""Work items, who is told of them, and what is told."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workitem",
        sa.Column("SOPInstanceUID", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), server_default="", nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("StudyInstanceUID", sa.String(length=64), server_default="", nullable=False),
        sa.Column("reading_id", sa.String(length=36), nullable=True),
        sa.Column("shown", sa.String(length=16), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("modified_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("SOPInstanceUID", name=op.f("pk_workitem")),
    )
    for column in ("state", "StudyInstanceUID", "reading_id", "modified_at"):
        op.create_index(op.f(f"ix_workitem_{column}"), "workitem", [column])
    wanted = sa.column("wanted", sa.Boolean())
    op.create_index("ix_workitem_wanted", "workitem", ["created_at"], sqlite_where=wanted == sa.true(), postgresql_where=wanted)
    op.create_table(
        "subscription",
        sa.Column("ae_title", sa.String(length=16), nullable=False),
        sa.Column("SOPInstanceUID", sa.String(length=64), nullable=False),
        sa.Column("keys", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("ae_title", "SOPInstanceUID", name=op.f("pk_subscription")),
    )
    op.create_index("ix_subscription_SOPInstanceUID", "subscription", ["SOPInstanceUID"])
    op.create_table(
        "event",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("ae_title", sa.String(length=16), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_event_at"), "event", ["at"])
    op.create_index("ix_event_ae_title_id", "event", ["ae_title", "id"])
    op.add_column("reading", sa.Column("listed", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.execute("UPDATE reading SET listed = true")  # what was read before has no work item
    listed = sa.not_(sa.column("listed", sa.Boolean()))
    op.create_index("ix_reading_unlisted", "reading", ["created_at"], sqlite_where=listed, postgresql_where=listed)
