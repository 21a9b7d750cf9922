"""Answers of people to readings, which are only ever added to, and what is made and sent of them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "review",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("reading_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("StudyInstanceUID", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), server_default="", nullable=False),
        sa.Column("device_uid", sa.Text(), server_default="", nullable=False),
        sa.Column("probability", sa.Float(), nullable=True),
        sa.Column("found_category", sa.Text(), server_default="", nullable=False),
        sa.Column("site", sa.Text(), server_default="", nullable=False),
        sa.Column("reader", sa.Text(), server_default="", nullable=False),
        sa.Column("judgement", sa.String(length=16), nullable=False),
        sa.Column("objection", sa.String(length=40), server_default="", nullable=False),
        sa.Column("text", sa.Text(), server_default="", nullable=False),
        sa.Column("category", sa.Text(), server_default="", nullable=False),
        sa.Column("added", sa.JSON(), nullable=False),
        sa.Column("removed", sa.JSON(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("supersedes", sa.String(length=36), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review")),
        sa.UniqueConstraint("reading_id", "number", name=op.f("uq_review_reading_id")),
    )
    for name in ("StudyInstanceUID", "at", "supersedes"):
        op.create_index(op.f(f"ix_review_{name}"), "review", [name], unique=False)

    op.create_table(
        "assessment",
        sa.Column("review_id", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", sa.DateTime(), nullable=False),
        sa.Column("code", sa.Text(), server_default="", nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["review_id"], ["review.id"], name=op.f("fk_assessment_review_id")),
        sa.PrimaryKeyConstraint("review_id", name=op.f("pk_assessment")),
    )
    op.create_index(op.f("ix_assessment_state"), "assessment", ["state"], unique=False)

    with op.batch_alter_table("parcel") as batch_op:
        batch_op.add_column(sa.Column("review_id", sa.String(length=36), server_default="", nullable=False))
        batch_op.drop_constraint("pk_parcel", type_="primary")
        batch_op.create_primary_key("pk_parcel", ["reading_id", "review_id", "name"])
    with op.batch_alter_table("delivery") as batch_op:
        batch_op.add_column(sa.Column("review_id", sa.String(length=36), server_default="", nullable=False))
        batch_op.drop_constraint("uq_delivery_reading_id", type_="unique")
        batch_op.create_unique_constraint("uq_delivery_reading_id", ["reading_id", "review_id", "destination", "round"])
    _forbid_changes()


def _forbid_changes() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER review_no_{verb.lower()} BEFORE {verb} ON review "
                "BEGIN SELECT RAISE(ABORT, 'answers are only ever added to'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION review_is_kept() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'answers are only ever added to'; END $$"
    )
    op.execute(
        "CREATE TRIGGER review_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON review "
        "FOR EACH STATEMENT EXECUTE FUNCTION review_is_kept()"
    )
