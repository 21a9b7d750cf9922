"""How studies come in: the receiver, its senders, the PACS, the watched folder, and when a study is whole."""

import ipaddress
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from pneumoscope.config.base import AeTitle, Network, Port, Seconds, Section
from pneumoscope.delivery.connection import Tls as ClientTls


class Tls(Section):
    """TLS by PS3.15 B.12: version 1.2 at least, both sides with a certificate."""

    certificate: Path | None = Field(None, description="Our certificate, PEM; empty: no TLS.")
    key: Path | None = Field(None, description="Its private key, PEM.")
    authorities: Path | None = Field(None, description="Certificates that may sign those of peers, PEM.")

    @model_validator(mode="after")
    def _whole(self) -> "Tls":
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together")
        return self

    def as_client(self) -> ClientTls:
        """TLS as we speak it towards a peer."""
        return ClientTls(certificate=self.certificate, key=self.key, authorities=self.authorities)


class Sender(Section):
    """Who may send to us by DICOM, and who may ask for what we keep."""

    ae_title: AeTitle = Field("*", description="Calling AE title, or `*` for any.")
    addresses: tuple[Network, ...] = Field(("127.0.0.0/8", "::1/128"), description="Networks that it may come from.")
    port: Port | None = Field(None, description="Where it listens for answers to storage commitments; empty: none are sent.")
    host: str = Field("", description="Its host for such answers; empty: the address that it called from.")
    encrypted: bool = Field(False, description="Speak TLS for such answers.")
    tls: Tls = Field(Tls(), description="Our certificate for such answers, and whom to trust; empty: that of `dicom.tls`.")
    query: bool | None = Field(
        None,
        description="Whether it may ask for and fetch what we keep, by C-FIND, C-GET and C-MOVE. Empty: where `addresses` are "
        "this machine or single hosts, or peers need a certificate (`dicom.tls.authorities`).",
    )
    priority: Literal["emergency", "inpatient", "routine", "backfill"] = Field(
        "routine", description="Urgency of what it sends, where no rule says otherwise."
    )

    @property
    def is_of_hosts(self) -> bool:
        """Whether it lists this machine and single hosts alone, no networks."""
        networks = map(ipaddress.ip_network, self.addresses)
        return all(network.is_loopback or network.num_addresses == 1 for network in networks)


class Dicom(Section):
    """The DICOM listener."""

    ae_title: AeTitle = Field("PNEUMOSCOPE", description="Our AE title; calls for another are refused.")
    host: str = Field("0.0.0.0", description="Address to listen on.")  # noqa: S104 - senders are listed by address
    port: Port = Field(11112, description="Port to listen on.")
    receivers: int = Field(2, ge=1, le=16, description="Receiver processes that share the port.")
    senders: tuple[Sender, ...] = Field((Sender(),), description="Who may send; all others are refused.")
    tls: Tls = Field(Tls(), description="Where a certificate is set, only TLS is spoken.")
    max_associations: int = Field(20, ge=1, le=500, description="Associations at once, per receiver process.")
    max_pdu_bytes: int = Field(131_072, ge=4096, le=1_048_576, description="Largest PDU that we take.")
    max_object_mb: int = Field(1024, ge=1, description="Largest object that is taken, in MB.")
    max_study_mb: int = Field(8192, ge=1, description="Largest study that is taken, in MB.")
    idle_timeout_s: Seconds = Field(60, description="A silent association is ended after this time.")

    @model_validator(mode="after")
    def _guarded(self) -> "Dicom":
        everywhere = [one for one in self.senders if any(ipaddress.ip_network(net).prefixlen == 0 for net in one.addresses)]
        if self.tls.authorities is None and any(sender.query for sender in everywhere):
            raise ValueError(
                "query is for listed networks; from all addresses it needs tls.authorities, since anyone can bear a title"
            )
        return self


class PriorityRule(Section):
    """Urgency by what an image says of itself."""

    keyword: str = Field(description="DICOM keyword, such as `InstitutionalDepartmentName`.")
    pattern: str = Field(description="Regular expression that is searched for in its value, whatever the case.")
    priority: Literal["emergency", "inpatient", "routine", "backfill"] = Field(description="Then this.")


class Arrival(Section):
    """When a study is complete."""

    settle_s: Seconds = Field(0.5, description="Wait after the sender's association closed, where the series is complete.")
    quiet_s: Seconds = Field(20, description="Wait after the last image, where nothing else tells that a study is complete.")
    expectation_wait_s: Seconds = Field(
        120, description="Longest wait for images that are known to be missing, by MPPS, IAN or the PACS."
    )
    ask: str = Field("", description="Name of a PACS under `pacs` that is asked how many images a study has.")
    priorities: tuple[PriorityRule, ...] = Field((), description="Rules of urgency; the most urgent that fits counts.")


class Pacs(Section):
    """A PACS that can be asked and fetched from."""

    name: str = Field(description="Our name for it.")
    ae_title: AeTitle | None = Field(None, description="Its AE title, for C-FIND and C-MOVE.")
    host: str = Field("", description="Its host, for C-FIND and C-MOVE.")
    port: Port | None = Field(None, description="Its port, for C-FIND and C-MOVE.")
    url: str = Field("", description="Its DICOMweb root, for QIDO-RS and WADO-RS, used instead where set.")
    token: str = Field("", description="Bearer token for its DICOMweb.", repr=False)
    encrypted: bool = Field(False, description="Speak TLS for C-FIND and C-MOVE.")
    tls: Tls = Field(Tls(), description="TLS towards it.")


class Watched(Section):
    """A folder that is looked at for studies."""

    folder: Path | None = Field(None, description="Folder whose files, zips and subfolders are taken in; empty: none.")
    every_s: Seconds = Field(2, description="How often it is looked at.")
