"""The installation, its disks, its logs and traces."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from pneumoscope.config.base import Section, Share


class Node(Section):
    """The installation as a whole."""

    folder: Path = Field(Path("node"), description="Folder for everything the node keeps: database, objects, results, spool.")
    database_url: str = Field(
        "",
        pattern=r"^(postgresql\+psycopg://\S+)?$",
        description="PostgreSQL by `postgresql+psycopg://...`; empty: SQLite in `folder`.",
        repr=False,  # it may hold a password
    )
    model: str = Field("", description="Installed model, or its folder; empty: that shipped.")
    workers: int = Field(1, ge=0, le=64, description="Worker processes that `serve` starts on this machine.")
    pace: float = Field(
        1,
        ge=1,
        le=40,
        description="How much less often idle processes look for work: for a machine that runs many nodes, or on a battery.",
    )


class Disk(Section):
    """What is kept, and when receiving stops."""

    durable: bool = Field(
        True,
        description="Have received objects on the disk for sure before they are listed; off: a power cut can lose the last.",
    )
    watermark: Share = Field(0.05, description="Where less of the disk is free, objects are refused with 0xA700.")
    keep_days: float = Field(
        30, gt=0, description="Studies older than this are removed, unless something is not delivered yet."
    )
    max_share: Share = Field(
        0.8,
        description="Where more of the disk is used, the oldest delivered studies go, or copies of what is in the bucket.",
    )


class Bucket(Section):
    """Object storage (S3) that holds objects and results in place of a folder, so that machines need no common file system."""

    url: str = Field(
        "",
        pattern=r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*/?)?$",
        description="`s3://bucket` or `s3://bucket/prefix`; empty: the folder.",
    )
    endpoint: str = Field(
        "",
        pattern=r"^(https?://[^\s/]+/?)?$",
        description="Address of another than AWS, such as `https://minio.hospital:9000`; empty: `AWS_ENDPOINT_URL`, or AWS.",
    )
    region: str = Field("", description="Region; empty: `AWS_REGION`, or us-east-1.")
    key_id: str = Field("", description="Access key; empty: `AWS_ACCESS_KEY_ID`, or the role of the machine.", repr=False)
    secret: str = Field("", description="Its secret; empty: `AWS_SECRET_ACCESS_KEY`, or the role.", repr=False)
    authorities: Path | None = Field(None, description="Certificates that may sign the endpoint's beside the usual ones, PEM.")
    cache_mb: int = Field(
        20_000, ge=1, description="Copies that each machine keeps, in MB, and in all no more of the disk than `disk.max_share`."
    )

    @model_validator(mode="after")
    def _whole(self) -> "Bucket":
        if bool(self.key_id) != bool(self.secret):
            raise ValueError("key_id and secret belong together")
        return self


class Logs(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severity that is written.")
    form: Literal["lines", "json"] = Field("lines", description="For people or for machines.")
    syslog: str = Field("", description="HOST:PORT of a syslog server that gets the audit trail too, over UDP.")


class Tracing(Section):
    """Traces of readings, to a collector that speaks OTLP over HTTP."""

    url: str = Field(
        "",
        pattern=r"^(https?://[^\s]+)?$",
        description="Where it takes traces, such as `http://collector.hospital:4318/v1/traces`; empty: no traces.",
    )
    headers: dict[str, str] = Field({}, description="Sent with each request, such as `Authorization`.", repr=False)
    authorities: Path | None = Field(
        None, description="Certificates that may sign the collector's, PEM; empty: the usual ones."
    )
    share: float = Field(1.0, gt=0, le=1, description="Share of readings that are traced, each whole or not at all.")
    service_name: str = Field("pneumoscope", min_length=1, description="What the collector calls us.")
