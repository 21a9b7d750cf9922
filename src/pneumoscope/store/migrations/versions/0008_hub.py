"""A hub: sites of a fleet, invitations, windows, models on offer, roll-outs."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "offer",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=140), nullable=False),
        sa.Column("device_uid", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("signer", sa.Text(), server_default="", nullable=False),
        sa.Column("offered_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_offer")),
        sa.UniqueConstraint("model", name=op.f("uq_offer_model")),
    )
    op.create_table(
        "province_day",
        sa.Column("province", sa.String(length=80), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("studies", sa.Integer(), server_default="0", nullable=False),
        sa.Column("studies_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("read", sa.Integer(), server_default="0", nullable=False),
        sa.Column("read_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("sign", sa.Integer(), server_default="0", nullable=False),
        sa.Column("sign_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("indeterminate", sa.Integer(), server_default="0", nullable=False),
        sa.Column("indeterminate_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("no_sign", sa.Integer(), server_default="0", nullable=False),
        sa.Column("no_sign_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cannot_say", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cannot_say_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("refused", sa.Integer(), server_default="0", nullable=False),
        sa.Column("refused_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("involved", sa.Integer(), server_default="0", nullable=False),
        sa.Column("involved_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("answers", sa.Integer(), server_default="0", nullable=False),
        sa.Column("answers_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("agreed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("agreed_most", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("province", "day", name=op.f("pk_province_day")),
    )
    op.create_table(
        "site",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("title", sa.String(length=80), nullable=False),
        sa.Column("province", sa.String(length=80), nullable=False),
        sa.Column("invited_at", sa.DateTime(), nullable=False),
        sa.Column("joined_at", sa.DateTime(), nullable=True),
        sa.Column("shut_at", sa.DateTime(), nullable=True),
        sa.Column("serial", sa.Text(), server_default="", nullable=False),
        sa.Column("next_serial", sa.Text(), server_default="", nullable=False),
        sa.Column("certificate_until", sa.DateTime(), nullable=True),
        sa.Column("heard_at", sa.DateTime(), nullable=True),
        sa.Column("health", sa.JSON(), nullable=True),
        sa.Column("service", sa.JSON(), nullable=True),
        sa.Column("model", sa.Text(), server_default="", nullable=False),
        sa.Column("mode", sa.String(length=16), server_default="", nullable=False),
        sa.Column("candidate", sa.Text(), server_default="", nullable=False),
        sa.Column("ready", sa.Boolean(), nullable=True),
        sa.Column("waiting", sa.Integer(), nullable=True),
        sa.Column("software", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site")),
        sa.UniqueConstraint("title", name=op.f("uq_site_title")),
    )
    op.create_index(op.f("ix_site_heard_at"), "site", ["heard_at"], unique=False)
    op.create_index(op.f("ix_site_province"), "site", ["province"], unique=False)
    op.create_table(
        "invitation",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("site", sa.String(length=36), nullable=False),
        sa.Column("made_at", sa.DateTime(), nullable=False),
        sa.Column("until", sa.DateTime(), nullable=False),
        sa.Column("used_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["site"], ["site.id"], name=op.f("fk_invitation_site")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_invitation")),
    )
    op.create_index(op.f("ix_invitation_site"), "invitation", ["site"], unique=False)
    op.create_table(
        "rollout",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=140), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("shares", sa.JSON(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(length=16), nullable=False),
        sa.Column("phase_since", sa.DateTime(), nullable=False),
        sa.Column("evidence_since", sa.DateTime(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("changed_at", sa.DateTime(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["sha256"], ["offer.sha256"], name=op.f("fk_rollout_sha256")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollout")),
    )
    op.create_table(
        "site_window",
        sa.Column("site", sa.String(length=36), nullable=False),
        sa.Column("start", sa.DateTime(), nullable=False),
        sa.Column("end", sa.DateTime(), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("received_at", sa.DateTime(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["site"], ["site.id"], name=op.f("fk_site_window_site")),
        sa.PrimaryKeyConstraint("site", "start", name=op.f("pk_site_window")),
    )
    op.create_index(op.f("ix_site_window_day"), "site_window", ["day"], unique=False)
    op.create_table(
        "window_total",
        sa.Column("site", sa.String(length=36), nullable=False),
        sa.Column("start", sa.DateTime(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("end", sa.DateTime(), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("model", sa.Text(), server_default="", nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("studies", sa.Integer(), server_default="0", nullable=False),
        sa.Column("studies_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("read", sa.Integer(), server_default="0", nullable=False),
        sa.Column("read_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("sign", sa.Integer(), server_default="0", nullable=False),
        sa.Column("sign_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("indeterminate", sa.Integer(), server_default="0", nullable=False),
        sa.Column("indeterminate_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("no_sign", sa.Integer(), server_default="0", nullable=False),
        sa.Column("no_sign_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cannot_say", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cannot_say_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("refused", sa.Integer(), server_default="0", nullable=False),
        sa.Column("refused_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("involved", sa.Integer(), server_default="0", nullable=False),
        sa.Column("involved_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("answers", sa.Integer(), server_default="0", nullable=False),
        sa.Column("answers_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("agreed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("agreed_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("pairs", sa.Integer(), server_default="0", nullable=False),
        sa.Column("pairs_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("same", sa.Integer(), server_default="0", nullable=False),
        sa.Column("same_most", sa.Integer(), server_default="0", nullable=False),
        sa.Column("difference_sum", sa.Float(), server_default="0", nullable=False),
        sa.Column("differences", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["site"], ["site.id"], name=op.f("fk_window_total_site")),
        sa.PrimaryKeyConstraint("site", "start", "number", name=op.f("pk_window_total")),
    )
    op.create_index("ix_window_total_day", "window_total", ["day", "role"], unique=False)
    op.create_index("ix_window_total_model", "window_total", ["model", "role", "end"], unique=False)
    op.create_table(
        "rollout_act",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("rollout", sa.String(length=36), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("actor", sa.Text(), server_default="", nullable=False),
        sa.Column("act", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollout.id"], name=op.f("fk_rollout_act_rollout")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollout_act")),
    )
    op.create_index(op.f("ix_rollout_act_rollout"), "rollout_act", ["rollout"], unique=False)
    op.create_table(
        "rollout_site",
        sa.Column("rollout", sa.String(length=36), nullable=False),
        sa.Column("site", sa.String(length=36), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("wish", sa.String(length=16), server_default="", nullable=False),
        sa.Column("wish_since", sa.DateTime(), nullable=True),
        sa.Column("out", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("told", sa.String(length=16), server_default="", nullable=False),
        sa.Column("code", sa.Text(), server_default="", nullable=False),
        sa.Column("told_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["rollout"], ["rollout.id"], name=op.f("fk_rollout_site_rollout")),
        sa.ForeignKeyConstraint(["site"], ["site.id"], name=op.f("fk_rollout_site_site")),
        sa.PrimaryKeyConstraint("rollout", "site", name=op.f("pk_rollout_site")),
    )
    op.create_index("ix_rollout_site_site", "rollout_site", ["site"], unique=False)
