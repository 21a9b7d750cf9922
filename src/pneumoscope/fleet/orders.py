"""What the hub last said, as a node keeps it."""

from pathlib import Path

from pydantic import ValidationError

from pneumoscope.fleet.messages import Limits, Orders, Stop
from pneumoscope.fleet.pool_messages import PoolOrders

NAME = "orders.json"


def limits(node_folder: Path) -> Limits:
    """The policy that holds for this site: the hub's where there is one that can be read, else ours."""
    found = _read(node_folder)
    return found.policy.limits if found else Limits()


def pool(node_folder: Path) -> PoolOrders:
    """What the hub last said of readings that are shared; nothing where it said none."""
    found = _read(node_folder)
    return (found.pool if found else None) or PoolOrders()


def stops(node_folder: Path) -> tuple[Stop, ...]:
    """What the hub wants stopped everywhere."""
    found = _read(node_folder)
    return found.stops if found else ()


def _read(node_folder: Path) -> Orders | None:
    try:
        return Orders.model_validate_json((node_folder / "fleet" / NAME).read_bytes())
    except (OSError, ValidationError):
        return None
