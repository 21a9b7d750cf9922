"""What all messages between a site and a hub are made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

#: A number of studies; None: from 1 to 4, or one that would give such a number away by subtraction.
Count = Annotated[int, Field(ge=0)] | None
#: Name and semantic version of a bundle, as readings carry them; empty: none.
ModelName = Annotated[str, Field(max_length=140, pattern=r"^([a-z0-9]+(-[a-z0-9]+)* [0-9A-Za-z.+-]{1,64})?$")]
DeviceUid = Annotated[str, Field(max_length=64, pattern=r"^[0-9.]*$")]
#: A code of ``errors.py``, never a message.
Code = Annotated[str, Field(max_length=60, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Identifier = Annotated[str, Field(max_length=36, pattern=r"^[0-9a-f-]{1,36}$")]


class Message(BaseModel):
    """Part of a message: frozen, nothing but what it names, and every number one that can be reckoned with."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
