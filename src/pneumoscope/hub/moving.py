"""Moves roll-outs from stage to stage."""

import sqlalchemy as sa

from pneumoscope.config import HubGate


def move(db: sa.Connection, gate: HubGate) -> None:
    """One step, where a gate lets it."""
