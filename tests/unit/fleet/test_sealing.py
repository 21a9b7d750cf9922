"""Invitations that only their taker can open."""

import uuid
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pneumoscope.errors import Rejected
from pneumoscope.fleet.sealing import key_of, seal, unseal
from pneumoscope.hub.authority import Authority
from pneumoscope.member.membership import request

TASK = str(uuid.uuid4())


def test_what_is_sealed_opens_for_its_key_and_its_task_alone() -> None:
    mine, others = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    sealed = seal("https://a.example/guest", to=mine.public_key(), task=TASK)
    assert unseal(sealed, by=mine) == "https://a.example/guest"
    assert "guest" not in sealed.model_dump_json()
    for wrong, key in (
        (sealed, others),
        (sealed.model_copy(update={"id": str(uuid.uuid4())}), mine),
        (sealed.model_copy(update={"content": sealed.content[:-8] + "AAAAAAA="}), mine),
        (sealed.model_copy(update={"key": sealed.key[:40]}), mine),
    ):
        with pytest.raises(Rejected) as refused:
            unseal(wrong, by=key)
        assert refused.value.code == "pool-invitation"


def test_a_taker_is_who_the_fleets_authority_says(tmp_path: Path) -> None:
    site, authority, stranger = str(uuid.uuid4()), Authority(tmp_path / "a"), Authority(tmp_path / "b")
    key = ec.generate_private_key(ec.SECP256R1())
    pem, _, _ = authority.sign_site(request(key), site, days=1)
    assert key_of(pem, authority_pem=authority.pem, site=site) == key.public_key()
    over, _, _ = authority.sign_site(request(key), site, days=-0.5)
    forged, _, _ = stranger.sign_site(request(key), site, days=1)
    for given, who in ((pem, str(uuid.uuid4())), (over, site), (forged, site), ("nonsense", site)):
        with pytest.raises(Rejected) as refused:
            key_of(given, authority_pem=authority.pem, site=who)
        assert refused.value.code == "pool-certificate"
