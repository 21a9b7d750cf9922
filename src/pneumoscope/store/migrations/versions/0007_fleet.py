"""A node in a fleet: its service, what its models did, verdicts, windows, alarms."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alarm",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("site", sa.String(length=36), server_default="", nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("subject", sa.Text(), server_default="", nullable=False),
        sa.Column("value", sa.Float(), server_default="0", nullable=False),
        sa.Column("limit", sa.Float(), server_default="0", nullable=False),
        sa.Column("since", sa.DateTime(), nullable=False),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alarm")),
    )
    op.create_index(op.f("ix_alarm_site"), "alarm", ["site"], unique=False)
    op.create_table(
        "fleet_window",
        sa.Column("start", sa.DateTime(), nullable=False),
        sa.Column("end", sa.DateTime(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("kept_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("start", name=op.f("pk_fleet_window")),
    )
    op.create_table(
        "observation",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("reading_id", sa.String(length=36), nullable=False),
        sa.Column("StudyInstanceUID", sa.String(length=64), nullable=False),
        sa.Column("model", sa.Text(), server_default="", nullable=False),
        sa.Column("device_uid", sa.Text(), server_default="", nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("code", sa.Text(), server_default="", nullable=False),
        sa.Column("probability", sa.Float(), nullable=True),
        sa.Column("category", sa.String(length=20), server_default="", nullable=False),
        sa.Column("involved_share", sa.Float(), nullable=True),
        sa.Column("reading_s", sa.Float(), nullable=True),
        sa.Column("wait_s", sa.Float(), nullable=True),
        sa.Column("features", sa.JSON(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_observation")),
        sa.UniqueConstraint("reading_id", "role", "model", name=op.f("uq_observation_reading_id")),
    )
    op.create_index(op.f("ix_observation_StudyInstanceUID"), "observation", ["StudyInstanceUID"], unique=False)
    op.create_index(op.f("ix_observation_at"), "observation", ["at"], unique=False)
    op.create_table(
        "service_act",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("act", sa.String(length=20), nullable=False),
        sa.Column("actor", sa.Text(), server_default="", nullable=False),
        sa.Column("second", sa.Text(), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("rollout", sa.Text(), server_default="", nullable=False),
        sa.Column("model", sa.Text(), server_default="", nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("candidate", sa.Text(), server_default="", nullable=False),
        sa.Column("previous", sa.Text(), server_default="", nullable=False),
        sa.Column("no_sign_below", sa.Float(), nullable=True),
        sa.Column("sign_from", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_act")),
    )
    op.create_table(
        "verdict",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("StudyInstanceUID", sa.String(length=64), nullable=False),
        sa.Column("reader", sa.Text(), server_default="", nullable=False),
        sa.Column("category", sa.String(length=20), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdict")),
    )
    op.create_index(op.f("ix_verdict_StudyInstanceUID"), "verdict", ["StudyInstanceUID"], unique=False)
    _forbid_changes()


def _forbid_changes() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER service_act_no_{verb.lower()} BEFORE {verb} ON service_act "
                "BEGIN SELECT RAISE(ABORT, 'decisions are only ever added to'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION service_act_is_kept() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'decisions are only ever added to'; END $$"
    )
    op.execute(
        "CREATE TRIGGER service_act_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON service_act "
        "FOR EACH STATEMENT EXECUTE FUNCTION service_act_is_kept()"
    )
