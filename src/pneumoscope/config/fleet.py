"""Membership in a fleet, and its hub."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pneumoscope.config.base import Port, Seconds, Section, Share


class Fleet(Section):
    """The node in a fleet, once it has joined one by `pneumoscope join`."""

    promotion: Literal["people", "hub"] = Field(
        "people",
        description="Who puts a model of the hub in service, after it has run beside the present one: two people here, or "
        "the hub, once two people have released a model here.",
    )
    stops: Literal["hub", "people"] = Field(
        "hub",
        description="Who takes a model out of service that the hub wants stopped everywhere: the node, as soon as it hears of "
        "it, or an administrator here; until one does, every page tells of it.",
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


class HubPolicy(Section):
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


class HubGate(Section):
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


class Hub(Section):
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
