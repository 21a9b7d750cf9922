"""What the tables of settings are made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[\x20-\x5b\x5d-\x7e]+$")]


Port = Annotated[int, Field(ge=1, le=65535)]


Seconds = Annotated[float, Field(gt=0)]


Share = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """A table; names that are not in it are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
