"""Settings: one typed table, from a TOML file and the environment, read once by each process.

``PNEUMOSCOPE_DICOM__PORT=104`` in the environment goes before ``port`` under ``[dicom]`` in the file. Every field's description
is its documentation, and a test proves that each is in docs/reference/settings.md.
"""

import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pneumoscope.config.destinations import (
    AnyDestination,
    DicomDestination,
    FhirDestination,
    FolderDestination,
    Hl7Destination,
    StowDestination,
)
from pneumoscope.config.faults import sentences
from pneumoscope.config.fleet import Fleet, Hub, HubGate, HubPolicy
from pneumoscope.config.network import Arrival, Dicom, Pacs, PriorityRule, Sender, Tls, Watched
from pneumoscope.config.node import Bucket, Disk, Logs, Node, Tracing
from pneumoscope.config.people import Http, IceServer, OpenId, People, Program, Role, Together
from pneumoscope.errors import OperatorNeeded

__all__ = [
    "FILE_VARIABLE",
    "AnyDestination",
    "Arrival",
    "Bucket",
    "Dicom",
    "DicomDestination",
    "Disk",
    "FhirDestination",
    "Fleet",
    "FolderDestination",
    "Hl7Destination",
    "Http",
    "Hub",
    "HubGate",
    "HubPolicy",
    "IceServer",
    "Logs",
    "Node",
    "OpenId",
    "Pacs",
    "People",
    "PriorityRule",
    "Program",
    "Role",
    "Sender",
    "Settings",
    "StowDestination",
    "Tls",
    "Together",
    "Tracing",
    "Watched",
    "load_settings",
]

FILE_VARIABLE = "PNEUMOSCOPE_CONFIG"


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="PNEUMOSCOPE_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    node: Node = Node()
    dicom: Dicom = Dicom()
    arrival: Arrival = Arrival()
    pacs: tuple[Pacs, ...] = ()
    destinations: tuple[AnyDestination, ...] = ()
    http: Http = Http()
    people: People = People()
    together: Together = Together()
    disk: Disk = Disk()
    bucket: Bucket = Bucket()
    watched: Watched = Watched()
    fleet: Fleet = Fleet()
    hub: Hub = Hub()
    logs: Logs = Logs()
    tracing: Tracing = Tracing()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before the file, which comes as arguments."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _fits(self) -> "Settings":
        names = [destination.name for destination in self.destinations]
        if doubled := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two destinations have one name: {', '.join(sorted(doubled))}")
        if self.arrival.ask and self.arrival.ask not in {pacs.name for pacs in self.pacs}:
            raise ValueError(f"arrival.ask names {self.arrival.ask}, which is not under pacs")
        if self.dicom.port == self.http.port:
            raise ValueError(f"dicom.port and http.port are both {self.dicom.port}")
        tokens = [*self.http.tokens, *(program.token for program in self.http.programs)]
        if len(set(tokens)) < len(tokens):
            raise ValueError("two programs have one token")
        local = self.http.host in ("localhost", "") or ipaddress.ip_address(self.http.host).is_loopback
        if not local and self.people.ways == "none" and not tokens:
            raise ValueError("http.host is open to the network; then people.ways or http.tokens must let someone in")
        return self

    @property
    def database_url(self) -> str:
        """SQLAlchemy's URL of the node's database."""
        return self.node.database_url or f"sqlite:///{self.node.folder.absolute() / 'node.sqlite'}"

    @property
    def workflow_url(self) -> str:
        """URL of the database of the durable workflows: the same server, or a second file."""
        url = self.node.database_url.replace("postgresql+psycopg://", "postgresql://")
        return url or f"sqlite:///{self.node.folder.absolute() / 'workflows.sqlite'}"

    @property
    def objects(self) -> Path:
        """The file store, where it is a folder."""
        return self.node.folder.absolute() / "objects"

    @property
    def cache(self) -> Path:
        """Copies of what is in the bucket, where the file store is one."""
        return self.node.folder.absolute() / "cache"

    @property
    def spool(self) -> Path:
        """Where received objects lie until they are filed."""
        return self.node.folder.absolute() / "spool"


def load_settings(file: Path | None = None, **given: Any) -> Settings:  # noqa: ANN401 - checked by pydantic
    """Settings of this process. ``file``: TOML; by default that named by ``PNEUMOSCOPE_CONFIG``, or none.

    Raises OperatorNeeded, which names each wrong setting, what was found and what is allowed, but no value of a secret.
    """
    path = file or (Path(os.environ[FILE_VARIABLE]) if os.environ.get(FILE_VARIABLE) else None)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig")) if path else {}
        return Settings(**{**content, **given})
    except ValidationError as fault:
        wrong = "".join(f"\n  {sentence}" for sentence in sentences(fault, Settings))
        raise OperatorNeeded(f"The settings cannot be used:{wrong}", code="settings-wrong") from None
    except OSError as fault:
        raise OperatorNeeded(
            f"The settings file cannot be read: {path}: {fault.strerror}.", code="settings-unreadable"
        ) from fault
    except UnicodeDecodeError:
        raise OperatorNeeded(f"The settings file {path} must be text in UTF-8.", code="settings-unreadable") from None
    except tomllib.TOMLDecodeError as fault:
        raise OperatorNeeded(f"The settings file {path} is no TOML: {fault}.", code="settings-unreadable") from fault
