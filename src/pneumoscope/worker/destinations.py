"""From what the settings say of a destination to what delivers to it."""

from pneumoscope import config
from pneumoscope.config import AnyDestination, Settings
from pneumoscope.delivery import Destination
from pneumoscope.delivery.fhir import FhirServer
from pneumoscope.delivery.folder import Folder
from pneumoscope.delivery.hl7 import Hl7Listener
from pneumoscope.delivery.storescu import DicomNode
from pneumoscope.delivery.stow import StowServer


def make_destination(given: AnyDestination, settings: Settings) -> Destination:
    """Nothing is opened or asked before it is used."""
    match given:
        case config.DicomDestination():
            return DicomNode(
                name=given.name,
                ae_title=given.ae_title,
                host=given.host,
                port=given.port,
                calling_ae_title=settings.dicom.ae_title,
                commitment=given.commitment,
                tls=given.tls.as_client() if given.encrypted else None,
                timeout_s=given.timeout_s,
            )
        case config.Hl7Destination():
            return Hl7Listener(
                name=given.name,
                host=given.host,
                port=given.port,
                receiving_application=given.receiving_application,
                receiving_facility=given.receiving_facility,
                tls=given.tls.as_client() if given.encrypted else None,
                timeout_s=given.timeout_s,
            )
        case config.FolderDestination():
            return Folder(name=given.name, path=given.path)
        case config.StowDestination() | config.FhirDestination():
            kind = StowServer if isinstance(given, config.StowDestination) else FhirServer
            return kind(
                name=given.name,
                url=given.url,
                token=given.token,
                user=given.user,
                password=given.password,
                tls=given.tls.as_client(),
                timeout_s=given.timeout_s,
            )
