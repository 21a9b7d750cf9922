"""Options that several verbs have."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pneumoscope.models import Bundle

Config = Annotated[
    Path | None, typer.Option("--config", help="Settings file, TOML; default: that named by PNEUMOSCOPE_CONFIG.")
]
Model = Annotated[str | None, typer.Option("--model", help="Installed model, or its folder; default: that shipped.")]
Unsigned = Annotated[bool, typer.Option("--unsigned", help="Take a model without signature, for development.")]
Positive = Annotated[list[str] | None, typer.Option("--positive", help="Label that counts as 1; again for more.")]
Processes = Annotated[int | None, typer.Option("--processes", min=1, max=256, help="Default: one for each core.")]


def bundle_of(model: str | None, *, unsigned: bool) -> "Bundle":
    """The model that ``--model`` names. Raises OperatorNeeded where it is not whole, or not signed."""
    from pneumoscope.models import DEFAULT_BUNDLE, load_bundle, trust
    from pneumoscope.models.library import find

    return load_bundle(find(model) if model else DEFAULT_BUNDLE, trusted=trust(unsigned=unsigned))
