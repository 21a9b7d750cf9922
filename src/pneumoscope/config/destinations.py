"""Where results go."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pneumoscope.config.base import AeTitle, Port, Seconds, Section
from pneumoscope.config.network import Tls


class _Destination(Section):
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
