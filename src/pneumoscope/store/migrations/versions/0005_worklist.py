"""The worklist: places by urgency, shares of each lung, and triggers that tell of changes."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = ("study", "reading", "delivery")
#: What `urgency.rank` says of the rows that there are.
RANKS = """
UPDATE study SET rank =
  CASE WHEN priority = 1 THEN 0 ELSE 1000 END
  + COALESCE((
      SELECT CASE
        WHEN r.category = 'sign of pneumonia of the COVID-19 pattern' THEN 0
        WHEN r.category = 'cannot say' OR study.state IN ('refused', 'failed') THEN 100
        WHEN r.category = 'indeterminate' THEN 200
        WHEN study.state <> 'read' THEN 300
        ELSE 400
      END + CASE
        WHEN r.category IN ('cannot say', 'no sign') THEN 0
        WHEN r.involved_share >= 0.75 THEN 0
        WHEN r.involved_share >= 0.5 THEN 10
        WHEN r.involved_share >= 0.25 THEN 20
        WHEN r.involved_share >= 0.05 THEN 30
        ELSE 40
      END
      FROM reading r WHERE r."StudyInstanceUID" = study."StudyInstanceUID" AND r.state = 'read'
      ORDER BY r.version DESC LIMIT 1
    ), CASE WHEN state IN ('refused', 'failed') THEN 100 ELSE 300 END)
  + priority
"""


def upgrade() -> None:
    with op.batch_alter_table("reading", schema=None) as batch_op:
        batch_op.add_column(sa.Column("right_share", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("left_share", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("severity_points", sa.Integer(), nullable=True))
    with op.batch_alter_table("study", schema=None) as batch_op:
        batch_op.add_column(sa.Column("rank", sa.Integer(), server_default="0", nullable=False))
        batch_op.create_index("ix_study_rank", ["rank", "first_image_at", "StudyInstanceUID"], unique=False)
        batch_op.create_index("ix_study_PatientID", ["PatientID"], unique=False)
    op.execute(RANKS)
    if op.get_bind().dialect.name == "sqlite":
        _count_on_sqlite()
    else:
        _notify_on_postgresql()


def _count_on_sqlite() -> None:
    op.execute("INSERT INTO mark (name, value) VALUES ('changes', 0)")
    count = "UPDATE mark SET value = value + 1 WHERE name = 'changes'"
    for table in TABLES:
        for verb in ("INSERT", "UPDATE", "DELETE"):
            op.execute(f"CREATE TRIGGER {table}_{verb.lower()}_is_told AFTER {verb} ON {table} BEGIN {count}; END")


def _notify_on_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION tell_of_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NOTIFY pneumoscope_changes; RETURN NULL; END $$"
    )
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_is_told AFTER INSERT OR UPDATE OR DELETE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION tell_of_change()"
        )
