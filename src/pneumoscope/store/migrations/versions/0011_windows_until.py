"""A hub: where the windows of each site have come to, so that none overlaps another."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("site", sa.Column("windows_until", sa.DateTime(), nullable=True))
    site = sa.table("site", sa.column("id"), sa.column("windows_until"))
    window = sa.table("site_window", sa.column("site"), sa.column("end"))
    last = sa.select(sa.func.max(window.c.end)).where(window.c.site == site.c.id).scalar_subquery()
    op.execute(site.update().values(windows_until=last))
