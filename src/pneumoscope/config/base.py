"""What the tables of settings are made of."""

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[\x20-\x5b\x5d-\x7e]+$")]


Port = Annotated[int, Field(ge=1, le=65535)]


Seconds = Annotated[float, Field(gt=0)]


Share = Annotated[float, Field(gt=0, lt=1)]


def _network(value: str) -> str:
    """Raises ValueError, which says what would do."""
    try:
        ipaddress.ip_network(value)
    except ValueError:
        pass
    else:
        return value
    try:
        inside = ipaddress.ip_interface(value)
    except ValueError:
        raise ValueError(f'"{value}" is neither an address nor a network, such as 10.1.2.3 or 10.1.2.0/24') from None
    raise ValueError(f'"{value}" is an address within a network: write {inside.network} for all of it, or {inside.ip}')


Network = Annotated[str, AfterValidator(_network)]


class Section(BaseModel):
    """A table; names that are not in it are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
