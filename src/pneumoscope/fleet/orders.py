"""What the hub last said, as a node keeps it."""

from pathlib import Path

from pydantic import ValidationError

from pneumoscope.fleet.messages import Limits, Orders, PoolOrders

NAME = "orders.json"


def limits(node_folder: Path) -> Limits:
    """The policy that holds for this site: the hub's where there is one that can be read, else ours."""
    try:
        return Orders.model_validate_json((node_folder / "fleet" / NAME).read_bytes()).policy.limits
    except (OSError, ValidationError):
        return Limits()


def pool(node_folder: Path) -> PoolOrders:
    """What the hub last said of readings that are shared; nothing where it said none."""
    try:
        found = Orders.model_validate_json((node_folder / "fleet" / NAME).read_bytes()).pool
    except (OSError, ValidationError):
        found = None
    return found or PoolOrders()
