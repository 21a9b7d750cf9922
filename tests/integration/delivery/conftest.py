"""One small reading, and certificates, for all deliveries."""

import uuid
from collections.abc import Iterator

import pytest
from delivery_peers import Orthanc, orthanc

from certificate_maker import Certificates, make_certificates
from pneumoscope.delivery import Shipment
from pneumoscope.results.build import build_parcels
from support import tiny_reading


@pytest.fixture(scope="session")
def shipment() -> Shipment:
    reading = tiny_reading(slices=12, size=64, PatientName="Müller^Änne=山田^花子")
    return Shipment(
        reading_id=str(uuid.uuid5(uuid.NAMESPACE_OID, "reading")),
        StudyInstanceUID=reading.study.StudyInstanceUID,
        parcels=build_parcels(reading),
    )


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def running_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with orthanc(tmp_path_factory.mktemp("orthanc")) as peer:
        yield peer


@pytest.fixture
def pacs(running_orthanc: Orthanc) -> Orthanc:
    """An empty Orthanc."""
    running_orthanc.forget()
    return running_orthanc
