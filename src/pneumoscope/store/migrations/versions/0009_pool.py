"""Reading for another hospital: the hub's tasks and agreements, a node's offers, takes and partners."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pool_offer",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("StudyInstanceUID", sa.String(length=64), nullable=False),
        sa.Column("urgency", sa.String(length=16), nullable=False),
        sa.Column("images", sa.String(length=16), nullable=False),
        sa.Column("actor", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("until", sa.DateTime(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("taker", sa.String(length=36), server_default="", nullable=False),
        sa.Column("taker_title", sa.Text(), server_default="", nullable=False),
        sa.Column("secret_hash", sa.String(length=64), server_default="", nullable=False),
        sa.Column("session_hash", sa.String(length=64), server_default="", nullable=False),
        sa.Column("sealed", sa.JSON(), nullable=True),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pool_offer")),
    )
    op.create_index(op.f("ix_pool_offer_StudyInstanceUID"), "pool_offer", ["StudyInstanceUID"], unique=False)
    op.create_index(op.f("ix_pool_offer_session_hash"), "pool_offer", ["session_hash"], unique=False)
    op.create_index(op.f("ix_pool_offer_state"), "pool_offer", ["state"], unique=False)
    op.create_table(
        "pool_partner",
        sa.Column("site", sa.String(length=36), nullable=False),
        sa.Column("title", sa.Text(), server_default="", nullable=False),
        sa.Column("actor", sa.Text(), server_default="", nullable=False),
        sa.Column("agreed_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("site", name=op.f("pk_pool_partner")),
    )
    op.create_table(
        "pool_take",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("owner", sa.String(length=36), nullable=False),
        sa.Column("owner_title", sa.Text(), server_default="", nullable=False),
        sa.Column("urgency", sa.String(length=16), nullable=False),
        sa.Column("images", sa.String(length=16), nullable=False),
        sa.Column("until", sa.DateTime(), nullable=False),
        sa.Column("actor", sa.Text(), server_default="", nullable=False),
        sa.Column("taken_at", sa.DateTime(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("link", sa.Text(), server_default="", nullable=False),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pool_take")),
    )
    op.create_index("ix_pool_take_actor", "pool_take", ["actor"], unique=False)
    op.create_table(
        "pool_consent",
        sa.Column("site", sa.String(length=36), nullable=False),
        sa.Column("partner", sa.String(length=36), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["site"], ["site.id"], name=op.f("fk_pool_consent_site")),
        sa.PrimaryKeyConstraint("site", "partner", name=op.f("pk_pool_consent")),
    )
    op.create_table(
        "pool_task",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("owner", sa.String(length=36), nullable=False),
        sa.Column("urgency", sa.String(length=16), nullable=False),
        sa.Column("images", sa.String(length=16), nullable=False),
        sa.Column("until", sa.DateTime(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("taker", sa.String(length=36), server_default="", nullable=False),
        sa.Column("certificate", sa.Text(), server_default="", nullable=False),
        sa.Column("sealed", sa.JSON(), nullable=True),
        sa.Column("changed_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["site.id"], name=op.f("fk_pool_task_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pool_task")),
    )
    op.create_index(op.f("ix_pool_task_owner"), "pool_task", ["owner"], unique=False)
    op.create_index(op.f("ix_pool_task_taker"), "pool_task", ["taker"], unique=False)
