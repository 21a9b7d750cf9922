"""The hub's certificates, and the pictures that its pages draw."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from cryptography import x509

from pneumoscope.config import Hub, HubPolicy
from pneumoscope.errors import OperatorNeeded, Rejected
from pneumoscope.fleet.messages import AlarmKind, Policy
from pneumoscope.fleet.shares import Span
from pneumoscope.hub import authority, drawing
from pneumoscope.hub.authority import Authority, identity, read_request
from pneumoscope.hub.prepare import policy_of
from pneumoscope.store.fleet_figures import NAMES, Figures

SITE = "6a1c8f0e-1111-4222-8333-abcdefabcdef"


def test_the_servers_certificate_is_made_anew_for_another_name_or_near_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Authority(tmp_path / "hub")
    assert ours.serve_as("hub.example")
    assert not ours.serve_as("hub.example")
    assert ours.serve_as("192.0.2.7")
    held = x509.load_pem_x509_certificate(ours.server_paths[0].read_bytes())
    held.verify_directly_issued_by(ours.certificate)
    monkeypatch.setattr(authority, "SERVER_DAYS", 10)
    assert ours.serve_as("hub.example")
    assert ours.serve_as("hub.example")
    assert Authority(tmp_path / "hub").sha256 == ours.sha256


def test_keys_that_cannot_be_read_need_a_person(tmp_path: Path) -> None:
    ours = Authority(tmp_path / "hub")
    (ours.folder / "authority.key").write_text("no key")
    with pytest.raises(OperatorNeeded, match="certificates"):
        Authority(tmp_path / "hub")


def test_requests_are_for_one_sort_of_key_and_certificates_name_a_site(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def request(curve: ec.EllipticCurve) -> str:
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        return builder.sign(ec.generate_private_key(curve), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    for wrong in ("", "x", request(ec.SECP384R1())):
        with pytest.raises(Rejected, match="P-256"):
            read_request(wrong)
    ours = Authority(tmp_path / "hub")
    pem, serial, _ = ours.sign_site(request(ec.SECP256R1()), SITE, days=1)
    der = x509.load_pem_x509_certificate(pem.encode()).public_bytes(serialization.Encoding.DER)
    assert identity(der) == (SITE, serial)


def figures(*, sign: Span, read: int) -> Figures:
    spans = dict.fromkeys(NAMES, Span(least=0, most=0)) | {"sign": sign, "read": Span(least=read, most=read)}
    return Figures(spans=spans, likely={"sign": sign.least, "involved": 0, "agreed": 0})


def test_a_curve_is_well_formed_and_within_its_frame() -> None:
    days = {
        "2026-01-01": figures(sign=Span(least=0, most=0), read=0),
        "2026-01-03": figures(sign=Span(least=1, most=30), read=31),
        "2026-01-04": figures(sign=Span(least=4000, most=4000), read=4000),
    }
    picture = ElementTree.fromstring(drawing.curve(days, since="2026-01-01", until="2026-01-05"))
    for bar in picture.iter("rect"):
        assert 0 <= float(bar.get("y", "nan")) <= 300
        assert float(bar.get("height", "nan")) >= 0
    assert drawing.curve({}, since="2026-01-01", until="2026-01-05") == ""


def test_provinces_have_a_tile_each_wherever_they_are() -> None:
    some = figures(sign=Span(least=10, most=10), read=100)
    found = {"Hubei": some, "Utopia": some}
    tiles, width, height = drawing.tiles(found, {"Hunan": 1, "Hubei": 0, "Atlantis": 2}, places={})
    assert sorted(tile.name for tile in tiles) == ["Atlantis", "Hubei", "Hunan", "Utopia"]
    assert len({(tile.x, tile.y) for tile in tiles}) == 4
    assert all(0 <= tile.x < width and 0 <= tile.y < height for tile in tiles)
    assert {tile.name: tile.strength for tile in tiles} == {"Hubei": 3, "Utopia": 3, "Hunan": None, "Atlantis": None}
    told = {tile.name: tile.told for tile in tiles}
    assert told["Hubei"] == "Hubei: 10.0 % with signs"
    assert told["Atlantis"] == "Atlantis: nothing was read, 2 hospitals in trouble"
    placed, *_ = drawing.tiles(found, {"Elsewhere": 0}, places={"Utopia": (3, 7), "Hubei": (2, 8)})
    at = {tile.name: (tile.x // drawing.TILE_PX, tile.y // drawing.TILE_PX) for tile in placed}
    assert at == {"Utopia": (0, 1), "Hubei": (1, 0), "Elsewhere": (0, 2)}
    assert [name for name, _ in drawing.legend()] == ["none", "s0", "s1", "s2", "s3", "s4", "s5"]
    with pytest.raises(ValueError, match="two provinces"):
        Hub(places={"Utopia": (0, 0), "Atlantis": (0, 0)})


def test_sites_are_told_the_policy_of_the_settings() -> None:
    policy = policy_of(Hub(policy=HubPolicy(every_s=30, agreement=0.8, stops=("failures",))))
    assert (policy.every_s, policy.limits.agreement, policy.limits.stops) == (30, 0.8, (AlarmKind.FAILURES,))
    assert policy_of(Hub()) == Policy()
    with pytest.raises(ValueError, match="lower end first"):
        HubPolicy(sign_from=(0.9, 0.5))
