"""Settings: one typed table, from a TOML file and the environment, read once by each process.

``PNEUMOSCOPE_DICOM__PORT=104`` in the environment goes before ``port`` under ``[dicom]`` in the file. Every field's description
is its documentation, and a test proves that each is in docs/reference/settings.md.
"""

import ipaddress
import os
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pneumoscope.delivery.connection import Tls as ClientTls
from pneumoscope.errors import OperatorNeeded

FILE_VARIABLE = "PNEUMOSCOPE_CONFIG"
AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[\x20-\x5b\x5d-\x7e]+$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Role(StrEnum):
    """What a person or a program is here for; what each may do is in ``server/rights.py``."""

    READER = "reader"
    TECHNICIAN = "technician"
    ADMINISTRATOR = "administrator"
    AUDITOR = "auditor"
    MONITOR = "monitor"  # for programs that watch


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Node(_Section):
    """The installation as a whole."""

    folder: Path = Field(Path("node"), description="Folder for everything the node keeps: database, objects, results, spool.")
    database_url: str = Field("", description="PostgreSQL by `postgresql+psycopg://...`; empty: SQLite in `folder`.")
    model: str = Field("", description="Installed model, or its folder; empty: that shipped.")
    workers: int = Field(1, ge=0, le=64, description="Worker processes that `serve` starts on this machine.")
    pace: float = Field(
        1,
        ge=1,
        le=40,
        description="How much less often idle processes look for work: for a machine that runs many nodes, or on a battery.",
    )


class Tls(_Section):
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


class Sender(_Section):
    """Who may send to us by DICOM, and who may ask for what we keep."""

    ae_title: str = Field("*", description="Calling AE title, or `*` for any.")
    addresses: tuple[str, ...] = Field(("127.0.0.0/8", "::1/128"), description="Networks that it may come from.")
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

    @field_validator("addresses")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network)
        return value

    @property
    def is_of_hosts(self) -> bool:
        """Whether it lists this machine and single hosts alone, no networks."""
        networks = map(ipaddress.ip_network, self.addresses)
        return all(network.is_loopback or network.num_addresses == 1 for network in networks)


class Dicom(_Section):
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


class PriorityRule(_Section):
    """Urgency by what an image says of itself."""

    keyword: str = Field(description="DICOM keyword, such as `InstitutionalDepartmentName`.")
    pattern: str = Field(description="Regular expression that is searched for in its value, whatever the case.")
    priority: Literal["emergency", "inpatient", "routine", "backfill"] = Field(description="Then this.")


class Arrival(_Section):
    """When a study is complete."""

    settle_s: Seconds = Field(0.5, description="Wait after the sender's association closed, where the series is complete.")
    quiet_s: Seconds = Field(20, description="Wait after the last image, where nothing else tells that a study is complete.")
    expectation_wait_s: Seconds = Field(
        120, description="Longest wait for images that are known to be missing, by MPPS, IAN or the PACS."
    )
    ask: str = Field("", description="Name of a PACS under `pacs` that is asked how many images a study has.")
    priorities: tuple[PriorityRule, ...] = Field((), description="Rules of urgency; the most urgent that fits counts.")


class Pacs(_Section):
    """A PACS that can be asked and fetched from."""

    name: str = Field(description="Our name for it.")
    ae_title: AeTitle | None = Field(None, description="Its AE title, for C-FIND and C-MOVE.")
    host: str = Field("", description="Its host, for C-FIND and C-MOVE.")
    port: Port | None = Field(None, description="Its port, for C-FIND and C-MOVE.")
    url: str = Field("", description="Its DICOMweb root, for QIDO-RS and WADO-RS, used instead where set.")
    token: str = Field("", description="Bearer token for its DICOMweb.", repr=False)
    encrypted: bool = Field(False, description="Speak TLS for C-FIND and C-MOVE.")
    tls: Tls = Field(Tls(), description="TLS towards it.")


class _Destination(_Section):
    name: str = Field(description="Our name for it.", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")
    tls: Tls = Field(Tls(), description="Our certificate, and whom to trust.")
    timeout_s: Seconds = Field(30, description="Longest wait for each answer.")


class DicomDestination(_Destination):
    """Results by C-STORE."""

    kind: Literal["dicom"]
    ae_title: AeTitle = Field(description="Its AE title.")
    host: str = Field(description="Its host.")
    port: Port = Field(description="Its port.")
    commitment: bool = Field(True, description="Ask for storage commitment, and send again what is not vouched for.")
    encrypted: bool = Field(False, description="Speak TLS.")


class _WebDestination(_Destination):
    url: str = Field(description="Its root: `/studies` is added for DICOMweb, nothing for FHIR.")
    token: str = Field("", description="Bearer token.", repr=False)
    user: str = Field("", description="User, for basic authentication.")
    password: str = Field("", description="Its password.", repr=False)


class StowDestination(_WebDestination):
    """Results by STOW-RS."""

    kind: Literal["stow"]


class FhirDestination(_WebDestination):
    """Results to a FHIR R4 server, as a transaction."""

    kind: Literal["fhir"]


class Hl7Destination(_Destination):
    """Results as HL7 v2 ORU^R01 over MLLP."""

    kind: Literal["hl7"]
    host: str = Field(description="Its host.")
    port: Port = Field(description="Its port.")
    receiving_application: str = Field("", description="MSH-5.")
    receiving_facility: str = Field("", description="MSH-6.")
    encrypted: bool = Field(False, description="Speak TLS.")


class FolderDestination(_Destination):
    """Results into a folder, one folder within it for each reading."""

    kind: Literal["folder"]
    path: Path = Field(description="The folder.")


AnyDestination = Annotated[
    DicomDestination | StowDestination | FhirDestination | Hl7Destination | FolderDestination, Field(discriminator="kind")
]


class Program(_Section):
    """A program that may do less than everything."""

    name: str = Field(description="Our name for it, which the audit trail shows.", pattern=r"^[A-Za-z0-9._@ -]{1,40}$")
    token: str = Field(description="Its bearer token.", min_length=16, repr=False)
    roles: tuple[Role, ...] = Field(description="Such as `monitor`, which sees `/ready` and `/metrics` and nothing else.")


class Http(_Section):
    """The web listener: DICOMweb, upload, metrics, pages."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(8042, description="Port to listen on.")
    certificate: Path | None = Field(None, description="Certificate, PEM; empty: no TLS.")
    key: Path | None = Field(None, description="Its private key, PEM.")
    tokens: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="Bearer tokens of programs that may do everything.", repr=False
    )
    programs: tuple[Program, ...] = Field((), description="Programs that may do less.")
    trust_this_machine: bool = Field(
        False, description="Whoever calls from this machine, and through no proxy, may do everything without logging in."
    )
    proxies: tuple[str, ...] = Field(
        ("127.0.0.0/8", "::1/128"), description="Networks of proxies, whose `X-Forwarded-For` and `-Proto` are believed."
    )
    max_upload_mb: int = Field(8192, ge=1, description="Largest request body, in MB.")

    @field_validator("proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network)
        return value


class OpenId(_Section):
    """A provider of OpenID Connect, where people log in instead of here."""

    issuer: str = Field("", description="Its issuer, such as `https://id.hospital.example/realms/main`.")
    client_id: str = Field("", description="What it calls us.")
    client_secret: str = Field("", description="Our secret there; empty: a public client, by PKCE alone.", repr=False)
    title: str = Field("your organisation's login", description="What the login page calls it.")
    scope: str = Field("openid profile", description="What is asked of it, as scopes.")
    role_claim: str = Field("groups", description="Claim that says what someone is, dots lead inwards: `realm_access.roles`.")
    roles: dict[str, tuple[Role, ...]] = Field({}, description="Our roles by the values of that claim; others get none.")
    authorities: Path | None = Field(None, description="Certificates that may sign its own, PEM; empty: the system's.")


class People(_Section):
    """How people log in."""

    ways: Literal["local", "openid", "both", "none"] = Field(
        "local", description="By accounts of the node, by OpenID Connect, or not at all."
    )
    idle_s: Seconds = Field(1800, description="A session ends after so long without use.")
    longest_s: Seconds = Field(43_200, description="A session ends after so long in any case.")
    tries: int = Field(
        5, ge=3, le=100, description="Wrong passwords for an account before it is locked; ten times as many from an address."
    )
    pause_s: Seconds = Field(900, description="How long it is locked then.")
    openid: OpenId = Field(OpenId(), description="The provider.")

    @property
    def by_password(self) -> bool:
        """Whether accounts of the node may log in."""
        return self.ways in ("local", "both")

    @property
    def by_openid(self) -> bool:
        """Whether accounts of the provider may log in."""
        return self.ways in ("openid", "both")

    @model_validator(mode="after")
    def _whole(self) -> "People":
        if self.by_openid and not (self.openid.issuer and self.openid.client_id and self.openid.roles):
            raise ValueError("people.ways lets OpenID Connect in; then people.openid needs issuer, client_id and roles")
        return self


class IceServer(_Section):
    """A STUN or TURN server by which browsers find a way to one another."""

    urls: tuple[Annotated[str, Field(pattern=r"^(stuns?|turns?):[^\s]+$")], ...] = Field(
        description="Such as `turn:turn.hospital.example:3478`.", min_length=1
    )
    user: str = Field("", description="User there; everyone who reads together is told it.")
    password: str = Field("", description="Its password; everyone who reads together is told it.", repr=False)


class Together(_Section):
    """Reading a study together from several places."""

    longest_s: Seconds = Field(14_400, description="A reading together ends after so long in any case, and its link with it.")
    ice_servers: tuple[IceServer, ...] = Field(
        (), description="Helpers for voice and video; none: browsers must reach one another by themselves."
    )


class Disk(_Section):
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


class Bucket(_Section):
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


class Watched(_Section):
    """A folder that is looked at for studies."""

    folder: Path | None = Field(None, description="Folder whose files, zips and subfolders are taken in; empty: none.")
    every_s: Seconds = Field(2, description="How often it is looked at.")


class Fleet(_Section):
    """The node in a fleet, once it has joined one by `pneumoscope join`."""

    promotion: Literal["people", "hub"] = Field(
        "people",
        description="Who puts a model of the hub in service, after it has run beside the present one: two people here, or "
        "the hub, once two people have released a model here.",
    )
    stops: Literal["hub", "people"] = Field(
        "hub",
        description="Who takes a model out of service that the hub wants stopped everywhere: the node, as soon as it hears of "
        "it, or people here, who are told on every page.",
    )
    proxy: str = Field(
        "",
        pattern=r"^(https?://[^\s/]+/?)?$",
        description="HTTP proxy on the way to the hub, such as `http://proxy.hospital:3128`; empty: directly.",
    )
    share_readings: bool = Field(
        False, description="Whether studies can be offered to readers of other hospitals, and theirs be read here."
    )
    pages_url: str = Field(
        "",
        pattern=r"^(https?://[^\s/]+)?$",
        description="Where readers of other hospitals reach this node's pages, such as `https://ct.hospital.example`; empty: "
        "nothing is offered, and others' studies can be read all the same.",
    )
    offer_above: int = Field(
        0, ge=0, description="With more read studies than this that wait for an answer, the oldest are offered; 0: none is."
    )
    offer_for_s: Seconds = Field(28_800, description="How long an offer stands, and the right of who takes it.")


class HubPolicy(_Section):
    """What holds for every site of the fleet; sites hear it with each answer."""

    window_s: Seconds = Field(86_400, description="Length of the windows of time that sites count in.")
    every_s: Seconds = Field(60, description="How often a site reports. One that is silent five times as long raises an alarm.")
    acceptance_cases: int = Field(
        20, ge=0, description="Labelled cases that a site reads before a model is released, at least."
    )
    acceptance_auc: float = Field(0.7, ge=0, le=1, description="AUC that its assessment must reach.")
    failed_share: Share = Field(0.1, description="Share of readings that may fail.")
    refused_share: Share = Field(0.5, description="Share of studies that may be refused.")
    agreement: Share = Field(0.7, description="Share of readers' answers that must agree.")
    wait_s: Seconds = Field(60, description="Wait for results that 95 % of studies must keep.")
    false_alarms_a_year: float = Field(1.0, gt=0, description="False alarms that a site's watches may raise in a year, in all.")
    stops: tuple[Literal["failures", "agreement", "calibration"], ...] = Field(
        ("failures", "agreement", "calibration"), description="Alarms at which a site takes its model out of service by itself."
    )
    no_sign_below: tuple[Share, Share] = Field((0.05, 0.5), description="Between these a site may set its limit for no sign.")
    sign_from: tuple[Share, Share] = Field((0.5, 0.95), description="Between these a site may set its limit for a sign.")

    @model_validator(mode="after")
    def _rising(self) -> "HubPolicy":
        if any(low > high for low, high in (self.no_sign_below, self.sign_from)):
            raise ValueError("no_sign_below and sign_from have their lower end first")
        return self


class HubGate(_Section):
    """What each stage of a roll-out must show, first as a candidate beside the present model, then in service."""

    hours: float = Field(24, ge=0, description="Time that a stage stays in shadow, and in service, at least.")
    sites_share: float = Field(0.8, gt=0, le=1, description="Share of a stage's sites that must have come that far.")
    pairs: int = Field(50, ge=0, description="Studies that both models read, in the whole stage, before the new one serves.")
    readings: int = Field(50, ge=0, description="Readings by the new model in service before the next stage begins.")
    answers: int = Field(0, ge=0, description="Readers' answers to it before the next stage begins.")
    failed_share: Share = Field(0.05, description="Share of its readings that may fail.")
    same_share: Share = Field(0.8, description="Share of pairs that must fall into the same category.")
    difference: Share = Field(0.1, description="Mean difference of scores that is allowed, either way.")
    agreement: Share = Field(0.7, description="Share of readers' answers that must agree.")
    refused_sites_share: Share = Field(0.2, description="Share of a stage's sites that may refuse the model.")


class Hub(_Section):
    """The hub of a fleet, by `pneumoscope hub`."""

    name: str = Field(
        "localhost",
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?$",
        description="Name or address that sites know it by.",
    )
    host: str = Field("0.0.0.0", description="Address to listen on.")  # noqa: S104 - sites show certificates, people log in
    port: Port = Field(8443, description="Port of the pages, and of joining.")
    sites_port: Port = Field(8444, description="Port where sites report, with their certificates.")
    invitation_hours: float = Field(72, gt=0, description="How long a token to join holds.")
    certificate_days: float = Field(
        90, gt=0, description="How long a site's certificate holds; sites renew them by themselves."
    )
    places: dict[str, tuple[Annotated[int, Field(ge=0, le=99)], Annotated[int, Field(ge=0, le=99)]]] = Field(
        {},
        description="Row and column of each province on the map, such as `{ Bavaria = [5, 3] }`; provinces that are not named "
        "stand below, in a grid by name. Empty: those of China where they lie, all others in a grid.",
    )
    policy: HubPolicy = Field(HubPolicy(), description="What holds for every site.")
    gate: HubGate = Field(HubGate(), description="What a stage of a roll-out must show.")

    @model_validator(mode="after")
    def _apart(self) -> "Hub":
        if self.port == self.sites_port:
            raise ValueError("port and sites_port are two listeners, and need two ports")
        if len(set(self.places.values())) < len(self.places):
            raise ValueError("places has two provinces in one row and column")
        return self


class Logs(_Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severity that is written.")
    form: Literal["lines", "json"] = Field("lines", description="For people or for machines.")
    syslog: str = Field("", description="HOST:PORT of a syslog server that gets the audit trail too, over UDP.")


class Tracing(_Section):
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
        content = tomllib.loads(path.read_text(encoding="utf-8")) if path else {}
        return Settings(**{**content, **given})
    except ValidationError as fault:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in fault.errors(include_input=False)
        )
        raise OperatorNeeded(f"The settings cannot be used: {wrong}.", code="settings-wrong") from None
    except (OSError, tomllib.TOMLDecodeError) as fault:
        raise OperatorNeeded(f"The settings file cannot be read: {fault}.", code="settings-unreadable") from fault
