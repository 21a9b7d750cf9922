"""What the hub wishes of a site: fetched from a real hub, verified as on this machine, done once and as far as people allow."""

import hashlib
import io
import zipfile
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa
from hub_fleet import Running
from member_site import Site

from pneumoscope.errors import OperatorNeeded
from pneumoscope.fleet.messages import AlarmKind, Mode, Offer, Orders, Wish, WishKind, WishStage, WishState
from pneumoscope.member import membership
from pneumoscope.models.library import find, models_folder
from pneumoscope.models.manifest import Calibration
from pneumoscope.store import Database, FolderStore, alarms, audit, now, rollouts, service
from pneumoscope.training.signing import make_key, sign, write_manifest

CALIBRATION = Calibration(
    intercept=1.0,
    slope=1.0,
    pattern_slope=0.8,
    surest=0.9,
    slice_intercept=0.5,
    slice_slope=0.5,
    slice_pattern_slope=0.4,
    floor=0.002,
    no_sign_below=0.3,
    sign_from=0.6,
    slice_no_sign_below=0.35,
    slice_sign_from=0.5,
)
MODEL = "lung-lesion 9.0.0"
#: A hub offers one bundle of a name and version for ever.
minors = count(1)


@pytest.fixture(autouse=True)
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that trusts one more key than the shipped one."""
    home = tmp_path / "home"
    (home / "trusted_keys").mkdir(parents=True)
    make_key(tmp_path / "ours.key", home / "trusted_keys" / "ours.pub")
    monkeypatch.setenv("PNEUMOSCOPE_HOME", str(home))
    return tmp_path / "ours.key"


def bundle(folder: Path, key: Path | None, *, weights: bytes = b"weights") -> tuple[str, bytes]:
    """A new version, and its zip as the hub keeps it."""
    version = f"9.{next(minors)}.0"
    folder.mkdir()
    (folder / "network.onnx").write_bytes(b"weights")
    write_manifest(folder, version=version, lesion_threshold=0.5, calibration=CALIBRATION)
    if key:
        sign(folder, key)
    (folder / "network.onnx").write_bytes(weights)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return f"lung-lesion {version}", buffer.getvalue()


class Fleet:
    """The hub's side of a roll-out to one site."""

    def __init__(self, hub: Running, site: Site, model: str, content: bytes) -> None:
        self.database, self.site = Database(hub.settings.database_url), site
        digest = hashlib.sha256(content).hexdigest()
        self.path = hub.settings.objects / "bundles" / f"{digest}.zip"
        FolderStore(hub.settings.objects).put(f"bundles/{digest}.zip", content)
        self.offer = Offer(model=model, sha256=digest, size_bytes=len(content))
        with self.database.begin() as db:
            db.execute(sa.text("UPDATE rollout SET state = 'back'"))
            rollouts.add_offer(db, one=self.offer, device_uid="2.25.1", key=f"bundles/{digest}.zip", signer="test")
            offered = rollouts.find_offer(db, model=model)
            assert offered is not None
            self.id = rollouts.begin(db, offered=offered, stages=[[site.facts.site]], shares=[])

    def wish(self, kind: WishKind) -> None:
        with self.database.begin() as db:
            rollouts.wish_stage(db, self.id, 0, kind)
        self.turn()

    def turn(self) -> WishStage | None:
        self.site.reporting.turn()
        assert self.site.reporting.trouble == ""
        self.site.wishes.look()
        state = self.site.wishes.state()
        return state.stage if state else None

    def close(self) -> None:
        with self.database.begin() as db:
            db.execute(sa.text("UPDATE rollout SET state = 'back'"))
        self.database.close()


def state(site: Site) -> service.Service:
    with site.store.database.look() as db:
        return service.current(db, site.model)


def acts(site: Site) -> list[str]:
    with site.store.database.look() as db:
        return [row["act"] for row in reversed(service.history(db))]


def release(site: Site) -> None:
    with site.store.database.begin() as db:
        service.release(db, actor="anna", second="bert", reason="it passed")


@pytest.mark.parametrize("promotion", ["people", "hub"])
def test_a_model_comes_into_service_and_goes_again(tmp_path: Path, hub: Running, key: Path, promotion: str) -> None:
    token = hub.invite(f"by {promotion}").written()
    site = Site(tmp_path / "site", token, more=f'[fleet]\npromotion = "{promotion}"\n')
    first = state(site).model
    release(site)
    model, content = bundle(tmp_path / "bundle", key)
    fleet = Fleet(hub, site, model, content)
    assert fleet.turn() is WishStage.SHADOW
    assert (state(site).model, state(site).candidate) == (first, model)
    site.start()
    fleet.wish(WishKind.LIVE)
    if promotion == "people":
        assert fleet.turn() is WishStage.WAITS
        with site.store.database.begin() as db:
            service.promote(db, actor="anna", second="bert")
    assert fleet.turn() is WishStage.LIVE
    assert (state(site).model, state(site).mode, state(site).previous) == (model, Mode.LIVE, first)
    fleet.wish(WishKind.BACK)
    site.start()
    assert fleet.turn() is WishStage.BACK
    assert (state(site).model, state(site).mode) == (first, Mode.LIVE)
    assert acts(site) == ["begin", "release", "candidate", "promote", "back"]
    fleet.wish(WishKind.SHADOW)  # the stage begins anew
    assert (site.wishes.state(), state(site).candidate) == (WishState(rollout=fleet.id, stage=WishStage.SHADOW), model)
    with site.store.database.look() as db:
        told = [row["detail"] for row in audit.entries(db) if row["actor"] == service.HUB]
    assert len(told) == (3 if promotion == "people" else 4)
    assert all(fleet.id in detail for detail in told)
    fleet.close()
    site.close()


@pytest.mark.parametrize("how", ["altered in the hub's store", "altered before", "unsigned", "another model"])
def test_what_does_not_pass_is_never_run(tmp_path: Path, hub: Running, site: Site, key: Path, how: str) -> None:
    weights = b"Weights" if how == "altered before" else b"weights"
    model, content = bundle(tmp_path / "bundle", None if how == "unsigned" else key, weights=weights)
    fleet = Fleet(hub, site, "lung-lesion 8.0.0" if how == "another model" else model, content)
    if how == "altered in the hub's store":
        fleet.path.write_bytes(content.replace(b"weights", b"Weights"))
    expected = {
        "altered in the hub's store": "bundle-altered",
        "altered before": "model-altered",
        "unsigned": "model-unsigned",
        "another model": "bundle-other-model",
    }
    assert fleet.turn() is WishStage.REFUSED
    refused = site.wishes.state()
    assert refused is not None
    assert refused.code == expected[how]
    site.start()
    assert fleet.turn() is WishStage.REFUSED
    assert not models_folder().exists() or not list(models_folder().iterdir())
    with pytest.raises(OperatorNeeded):
        find(model.replace(" ", "-"))
    assert acts(site) == ["begin"]
    with site.store.database.look() as db:
        assert [one.kind for one in alarms.standing(db)] == [AlarmKind.BUNDLE_REFUSED]
        told = [row["detail"] for row in audit.entries(db) if row["outcome"] == "refused"]
    assert len(told) == 1
    assert fleet.id in told[0]
    fleet.close()


def order(site: Site, kind: WishKind, *, offer: Offer | None = None) -> None:
    wish = Wish(rollout="0a", kind=kind, offer=offer)
    orders = Orders(now=now(), site=site.facts.site, title="a", province="b", wish=wish)
    membership.keep_orders(membership.folder(site.settings), orders)
    site.wishes.look()


def test_what_people_took_away_does_not_come_again(site: Site) -> None:
    offer = Offer(model=MODEL, sha256="0" * 64, size_bytes=1)
    with site.store.database.begin() as db:
        service.propose(db, MODEL, actor="anna")
    order(site, WishKind.SHADOW, offer=offer)
    assert site.wishes.state() is not None
    with site.store.database.begin() as db:
        service.withdraw(db, actor="anna")
    order(site, WishKind.SHADOW, offer=offer)
    order(site, WishKind.SHADOW, offer=offer)
    found = site.wishes.state()
    assert found is not None
    assert found.stage is WishStage.BACK
    assert acts(site) == ["begin", "candidate", "withdraw"]


def test_a_hub_that_takes_back_what_it_never_brought(site: Site) -> None:
    with site.store.database.begin() as db:
        service.propose(db, MODEL, actor="anna")
    order(site, WishKind.BACK)
    assert state(site).candidate == MODEL
