"""Nothing but what was signed is ever run: real tampering with a real bundle."""

import io
import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pneumoscope.errors import OperatorNeeded, PneumoscopeError
from pneumoscope.models import DEFAULT_BUNDLE, Trust, examine, load_bundle, trust
from pneumoscope.models.keys import SHIPPED_KEYS, read_keys
from pneumoscope.models.library import NotInstalled, find, install, models_folder, places
from pneumoscope.models.manifest import Calibration
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


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        make_key(folder / f"{name}.key", folder / f"{name}.pub")
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of its own for each test, whose operator trusts one more key."""
    place = tmp_path / "home"
    (place / "trusted_keys").mkdir(parents=True)
    shutil.copy(keys / "ours.pub", place / "trusted_keys")
    monkeypatch.setenv("PNEUMOSCOPE_HOME", str(place))
    return place


def make(folder: Path, keys: Path, *, version: str = "1.0.0", weights: bytes = b"weights", key: str = "ours") -> Path:
    folder.mkdir(parents=True)
    (folder / "network.onnx").write_bytes(weights)
    (folder / "card.md").write_text("A card.\n")
    write_manifest(folder, version=version, lesion_threshold=0.5, calibration=CALIBRATION)
    if key:
        sign(folder, keys / f"{key}.key")
    return folder


def refusal(folder: Path, **options: Trust) -> str:
    with pytest.raises(OperatorNeeded) as caught:
        load_bundle(folder, **options)
    assert caught.value.exit_status == 4
    return caught.value.code


def test_the_shipped_bundle_is_whole_and_signed_by_the_shipped_key() -> None:
    found = examine(DEFAULT_BUNDLE, trust=Trust(keys=read_keys(SHIPPED_KEYS)))
    assert found.fault is None
    assert found.signer is not None
    assert found.signer.name == "pneumoscope"
    bundle = load_bundle()
    assert bundle.notices == ()
    assert bundle.model.sha256[:16] in (Path(__file__).parents[3] / "docs" / "model-card.md").read_text()


def test_a_signed_bundle_loads_and_an_unsigned_one_only_on_demand(tmp_path: Path, keys: Path) -> None:
    bundle = load_bundle(make(tmp_path / "a", keys))
    assert (bundle.onnx, bundle.files["card.md"], bundle.calibration) == (b"weights", b"A card.\n", CALIBRATION)
    folder = make(tmp_path / "b", keys, key="")
    assert refusal(folder) == "model-unsigned"
    (notice,) = load_bundle(folder, trusted=trust(unsigned=True)).notices
    assert notice.code == "unsigned-model"


def test_a_bad_signature_is_refused_even_where_none_is_needed(tmp_path: Path, keys: Path) -> None:
    folder = make(tmp_path / "a", keys, key="theirs")
    assert refusal(folder) == "model-unknown-key"
    assert refusal(folder, trusted=trust(unsigned=True)) == "model-unknown-key"


def test_retraining_changes_the_device_uid_and_packaging_does_not(tmp_path: Path, keys: Path) -> None:
    uid = [
        load_bundle(make(tmp_path / name, keys, weights=weights, version=version)).model.device_uid
        for name, weights, version in (("a", b"1", "1.0.0"), ("b", b"2", "1.0.0"), ("c", b"1", "1.0.1"))
    ]
    assert uid[0] != uid[1]
    assert uid[0] == uid[2]


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (lambda f: (f / "network.onnx").write_bytes(b"weights2"), "model-altered"),
        (lambda f: (f / "card.md").write_text("Another.\n"), "model-altered"),
        (lambda f: (f / "card.md").unlink(), "model-file-missing"),
        (lambda f: (f / "stray").write_bytes(b""), "model-extra-file"),
        (lambda f: (f / "bundle.json").unlink(), "model-missing"),
        (lambda f: (f / "bundle.sig").write_text("nonsense"), "model-bad-signature"),
        (lambda f: (f / "bundle.sig").unlink(), "model-unsigned"),
    ],
)
def test_tampering(tmp_path: Path, keys: Path, harm, code: str) -> None:
    folder = make(tmp_path / "a", keys)
    harm(folder)
    assert refusal(folder) == code


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("format_version", 1, "model-format"),
        ("version", "1.0", "model-version"),
        ("device_uid", "2.25.1", "model-device-uid"),
        ("calibration", {"slope": 1}, "model-malformed"),
        ("lesion_threshold", "0.5", "model-malformed"),
        ("lesion_threshold", 7, "model-malformed"),
        ("weights", "other.onnx", "model-malformed"),
        ("files", {"../x": {"sha256": "0" * 64, "size_bytes": 1}}, "model-unsafe-name"),
        ("files", {"/etc/passwd": {"sha256": "0" * 64, "size_bytes": 1}}, "model-unsafe-name"),
        ("intended_use", "", "model-malformed"),
    ],
)
def test_a_manifest_that_is_signed_but_wrong(tmp_path: Path, keys: Path, key: str, value: object, code: str) -> None:
    folder = make(tmp_path / "a", keys)
    document = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**document, key: value}))
    assert refusal(folder) == "model-bad-signature"
    sign(folder, keys / "ours.key")
    assert refusal(folder) == code


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_byte_of_a_bundle_is_free(tmp_path: Path, keys: Path, data: st.DataObject) -> None:
    folder = tmp_path / "a"
    if not folder.exists():
        make(folder, keys)
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = path.read_bytes()
    at, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
    path.write_bytes(content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :])
    try:
        assert refusal(folder)
    finally:
        path.write_bytes(content)


def test_a_link_is_not_followed_out_of_the_folder_unseen(tmp_path: Path, keys: Path) -> None:
    folder = make(tmp_path / "a", keys)
    (folder / "network.onnx").unlink()
    (folder / "network.onnx").mkdir()
    assert refusal(folder) == "model-unreadable"


def test_the_stock_tool_accepts_our_signature_and_sees_tampering(tmp_path: Path, keys: Path) -> None:
    if not shutil.which("minisign"):
        pytest.skip("minisign is not installed")
    folder = make(tmp_path / "a", keys)

    def verify() -> int:
        command = ["minisign", "-V", "-m", folder / "bundle.json", "-x", folder / "bundle.sig", "-p", keys / "ours.pub"]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert verify() == 0
    (folder / "bundle.json").write_text((folder / "bundle.json").read_text() + " ")
    assert verify() != 0


def test_we_accept_a_signature_of_the_stock_tool(tmp_path: Path, keys: Path, home: Path) -> None:
    if not shutil.which("minisign"):
        pytest.skip("minisign is not installed")
    subprocess.run(["minisign", "-G", "-W", "-p", home / "trusted_keys" / "tool.pub", "-s", tmp_path / "tool.key"], check=True)
    folder = make(tmp_path / "a", keys, key="")
    command = ["minisign", "-S", "-s", tmp_path / "tool.key", "-m", folder / "bundle.json", "-x", folder / "bundle.sig"]
    subprocess.run(command, check=True)
    found = examine(folder, trust=trust())
    assert found.fault is None
    assert found.signer is not None
    assert found.signer.name == "tool"


def test_installing_finding_and_listing(tmp_path: Path, keys: Path) -> None:
    target = install(make(tmp_path / "a", keys))
    assert target == models_folder() / "lung-lesion-1.0.0"
    install(make(tmp_path / "b", keys, version="1.1.0", weights=b"newer"))
    assert find("lung-lesion-1.0.0") == target
    assert find("lung-lesion") == models_folder() / "lung-lesion-1.1.0"
    assert load_bundle(find("lung-lesion")).onnx == b"newer"
    assert [place.shipped for place in places()] == [True, False, False]
    assert install(make(tmp_path / "c", keys)) == target  # the same once more
    with pytest.raises(OperatorNeeded, match="No model of this name"):
        find("other")


def test_older_or_other_content_needs_a_word(tmp_path: Path, keys: Path) -> None:
    install(make(tmp_path / "a", keys, version="1.1.0"))
    with pytest.raises(NotInstalled, match=r"1\.1\.0 is installed, 1\.0\.0 is older") as caught:
        install(make(tmp_path / "b", keys, version="1.0.0"))
    assert caught.value.code == "model-older"
    with pytest.raises(NotInstalled, match="other content") as caught:
        install(make(tmp_path / "c", keys, version="1.1.0", weights=b"other"))
    assert caught.value.code == "model-same-version"
    assert load_bundle(find("lung-lesion")).onnx == b"weights"
    install(tmp_path / "c", replace=True)
    assert load_bundle(find("lung-lesion")).onnx == b"other"


@pytest.mark.parametrize("prerelease", [["1.0.0-rc.1", "1.0.0-rc.2", "1.0.0-rc.10", "1.0.0", "1.0.1-alpha", "1.0.1"]])
def test_versions_are_ordered_as_semver_says(tmp_path: Path, keys: Path, prerelease: list[str]) -> None:
    for version in prerelease:
        install(make(tmp_path / version, keys, version=version))
    assert find("lung-lesion").name == "lung-lesion-1.0.1"


def test_nothing_is_written_of_a_bundle_that_fails(tmp_path: Path, keys: Path) -> None:
    folder = make(tmp_path / "a", keys)
    (folder / "network.onnx").write_bytes(b"evil")
    with pytest.raises(OperatorNeeded):
        install(folder)
    assert not models_folder().exists()


def zipped(folder: Path, extra: dict[str, bytes] | None = None) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.iterdir():
            archive.write(path, f"lung-lesion/{path.name}")
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ({}, ""),
        ({"../escape": b"x"}, "archive-escapes"),
        ({"zeros": b"\0" * 2**27}, "archive-bomb"),
        ({"stray": b""}, "model-extra-file"),
    ],
)
def test_zips(tmp_path: Path, keys: Path, extra: dict[str, bytes], code: str) -> None:
    from pneumoscope.intake.archive import unpack

    file = tmp_path / "bundle.zip"
    file.write_bytes(zipped(make(tmp_path / "a", keys), extra))
    (tmp_path / "out").mkdir()
    try:
        unpack(file, to=tmp_path / "out", keep_names=True)
        install(tmp_path / "out")
        found = ""
    except PneumoscopeError as fault:
        found = fault.code
    assert found == code
    assert not (tmp_path / "escape").exists()


def test_the_secret_key_is_for_its_owner_alone(keys: Path) -> None:
    assert (keys / "ours.key").stat().st_mode & 0o077 == 0
    with pytest.raises(FileExistsError):
        make_key(keys / "ours.key", keys / "x.pub")
