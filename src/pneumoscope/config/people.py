"""Who comes to the pages and the API, and how."""

import ipaddress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pneumoscope.config.base import Network, Port, Seconds, Section


class Role(StrEnum):
    """What a person or a program is here for; what each may do is in ``server/rights.py``."""

    READER = "reader"
    TECHNICIAN = "technician"
    ADMINISTRATOR = "administrator"
    AUDITOR = "auditor"
    MONITOR = "monitor"  # for programs that watch


class Program(Section):
    """A program that may do less than everything."""

    name: str = Field(description="Our name for it, which the audit trail shows.", pattern=r"^[A-Za-z0-9._@ -]{1,40}$")
    token: str = Field(description="Its bearer token.", min_length=16, repr=False)
    roles: tuple[Role, ...] = Field(description="Such as `monitor`, which sees `/ready` and `/metrics` and nothing else.")


class Http(Section):
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
    proxies: tuple[Network, ...] = Field(
        ("127.0.0.0/8", "::1/128"), description="Networks of proxies, whose `X-Forwarded-For` and `-Proto` are believed."
    )
    max_upload_mb: int = Field(8192, ge=1, description="Largest request body, in MB.")

    @field_validator("host")
    @classmethod
    def _address(cls, value: str) -> str:
        try:
            return value if value in ("", "localhost") else str(ipaddress.ip_address(value))
        except ValueError:
            raise ValueError(f'"{value}" is no address of this machine, such as 127.0.0.1, or 0.0.0.0 for all') from None


class OpenId(Section):
    """A provider of OpenID Connect, where people log in instead of here."""

    issuer: str = Field("", description="Its issuer, such as `https://id.hospital.example/realms/main`.")
    client_id: str = Field("", description="What it calls us.")
    client_secret: str = Field("", description="Our secret there; empty: a public client, by PKCE alone.", repr=False)
    title: str = Field("your organisation's login", description="What the login page calls it.")
    scope: str = Field("openid profile", description="What is asked of it, as scopes.")
    role_claim: str = Field("groups", description="Claim that says what someone is, dots lead inwards: `realm_access.roles`.")
    roles: dict[str, tuple[Role, ...]] = Field({}, description="Our roles by the values of that claim; others get none.")
    authorities: Path | None = Field(None, description="Certificates that may sign its own, PEM; empty: the system's.")


class People(Section):
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


class IceServer(Section):
    """A STUN or TURN server by which browsers find a way to one another."""

    urls: tuple[Annotated[str, Field(pattern=r"^(stuns?|turns?):[^\s]+$")], ...] = Field(
        description="Such as `turn:turn.hospital.example:3478`.", min_length=1
    )
    user: str = Field("", description="User there; everyone who reads together is told it.")
    password: str = Field("", description="Its password; everyone who reads together is told it.", repr=False)
    secret: str = Field(
        "",
        description="In place of both, what it shares with us (coturn: `static-auth-secret`): each reading together gets a "
        "user of its own there, who ends with it.",
        repr=False,
    )

    @model_validator(mode="after")
    def _one_way(self) -> "IceServer":
        if self.secret and (self.user or self.password):
            raise ValueError("a secret stands in place of user and password; only one of the two ways is allowed")
        return self


class Together(Section):
    """Reading a study together from several places."""

    longest_s: Seconds = Field(14_400, description="A reading together ends after so long in any case, and its link with it.")
    ice_servers: tuple[IceServer, ...] = Field(
        (), description="Helpers for voice and video; none: browsers must reach one another by themselves."
    )
