"""What a file store promises, held against a folder and a bucket of a real S3 server; and the cache before the bucket."""

import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import databases
from dicom_maker import make_slice, save
from pneumoscope.config import Bucket, Settings
from pneumoscope.errors import OperatorNeeded, RetryLater
from pneumoscope.filing.objects import Status, file_waiting
from pneumoscope.filing.opener import opener
from pneumoscope.filing.spool import Spool
from pneumoscope.opening import open_files
from pneumoscope.store import FileStore, FolderStore, Store
from pneumoscope.store.bucket import BucketStore, open_bucket
from pneumoscope.store.cache import Cache
from pneumoscope.store.files import aside_key, image_key, result_key
from servers import Storage, storage

MB = 1_000_000
SHA256 = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    with storage(tmp_path_factory.mktemp("storage")) as running:
        yield running


def bucket_store(server: Storage, folder: Path, **changes: str) -> BucketStore:
    """As another machine would have it, with a cache of its own."""
    given = {"endpoint": server.endpoint, "key_id": server.key_id, "secret": server.secret, "url": "s3://bucket/site"} | changes
    return BucketStore(open_bucket(**given), Cache(folder, most_bytes=1000 * MB, most_share=0.99))


@pytest.fixture(params=["folder", "bucket"])
def machines(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[FileStore, FileStore]:
    """The same store as two machines see it."""
    if request.param == "folder":
        return FolderStore(tmp_path / "shared"), FolderStore(tmp_path / "shared")
    server = request.getfixturevalue("server")
    return bucket_store(server, tmp_path / "one"), bucket_store(server, tmp_path / "two")


def new_key() -> str:
    return aside_key(uuid.uuid4().hex)


@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(st.binary(max_size=300), min_size=1, max_size=12))
def test_what_one_machine_brings_another_has(
    machines: tuple[FileStore, FileStore], tmp_path: Path, contents: list[bytes]
) -> None:
    here, there = machines
    sources = {}
    for number, content in enumerate(contents):
        source = tmp_path / f"{number}"
        source.write_bytes(content)
        sources[new_key()] = source
    missing = new_key()
    here.bring(sources)
    here.sync(sources)
    assert all(source.exists() for source in sources.values())
    for store in machines:
        assert store.present([*sources, missing]) == set(sources)
        assert [path.read_bytes() for path in store.paths(list(sources))] == contents
        assert [store.read(key) for key in sources] == contents
    there.delete(*sources, missing)
    for store in machines:
        assert store.present(sources) == set()
    for source in sources.values():
        source.unlink()


def test_keys_of_every_kind_hold_what_was_put_last(machines: tuple[FileStore, FileStore]) -> None:
    here, there = machines
    uid = f"2.25.{uuid.uuid4().int}"
    for key in (image_key(uid, uid, uid, SHA256), result_key(uid, "report.html"), aside_key(uid)):
        assert not here.path(key).exists()
        with pytest.raises(FileNotFoundError):
            here.read(key)
        here.put(key, b"first")
        here.put(key, b"second")
        assert there.read(key) == here.read(key) == b"second"
        assert there.path(key).suffix == Path(key).suffix
        here.delete(key)
        assert not here.path(key).exists()
        with pytest.raises(FileNotFoundError):
            here.read(key)


def test_a_large_object_comes_back_whole(machines: tuple[FileStore, FileStore], tmp_path: Path) -> None:
    here, there = machines
    source, key = tmp_path / "large", new_key()
    source.write_bytes(os.urandom(12 * MB))  # more parts than one
    here.bring({key: source})
    source_content = source.read_bytes()
    source.unlink()
    assert here.read(key) == there.read(key) == source_content


def test_a_folder_of_results_is_there_once_it_is_whole(machines: tuple[FileStore, FileStore], tmp_path: Path) -> None:
    here, there = machines
    reading = f"readings/{uuid.uuid4().hex}"
    with pytest.raises(RuntimeError), here.folder(reading):
        raise RuntimeError
    with here.folder(reading):
        pass  # the reader refused the study
    assert not here.present([f"{reading}/reading.json"])
    with here.folder(reading) as out:
        out.mkdir(parents=True)
        for name in ("reading.json", "report.html"):
            (out / name).write_text(name)
    assert there.read(f"{reading}/report.html") == b"report.html"
    assert there.present([f"{reading}/reading.json", f"{reading}/other"]) == {f"{reading}/reading.json"}
    assert not list(tmp_path.rglob(".results-*"))


@pytest.mark.parametrize("key", ["", "..", "a/../b", "/etc/passwd", "a//b", ".hidden", "a/\0"])
def test_no_key_leaves_the_store(machines: tuple[FileStore, FileStore], key: str, tmp_path: Path) -> None:
    here, _ = machines
    source = tmp_path / "source"
    source.write_bytes(b"1")
    acts = (
        lambda: here.path(key),
        lambda: here.present([key]),
        lambda: here.put(key, b""),
        lambda: here.bring({key: source}),
        lambda: here.delete(key),
    )
    for act in acts:
        with pytest.raises(ValueError, match="a key has parts"):
            act()


def test_a_probe_leaves_nothing(machines: tuple[FileStore, FileStore], server: Storage, tmp_path: Path) -> None:
    here, _ = machines
    assert "can be written" in here.probe()
    assert not [key for key in server.held() if key.startswith("probe")]
    assert 0 < here.free_share() < 1


def test_what_is_free_of_a_disk_is_what_df_says(tmp_path: Path) -> None:
    told = subprocess.run(["df", "--output=pcent", tmp_path], capture_output=True, text=True, check=True).stdout
    used = int(told.splitlines()[1].strip().rstrip("%")) / 100
    assert abs(1 - FolderStore(tmp_path).free_share() - used) < 0.02


def test_only_a_disk_makes_studies_go(server: Storage, tmp_path: Path) -> None:
    assert FolderStore(tmp_path / "shared").is_crowded(1e-9)
    assert not bucket_store(server, tmp_path / "cache").is_crowded(1e-9)


# what goes wrong with a bucket


@pytest.mark.parametrize(
    ("changes", "fault", "code"),
    [
        ({"secret": "wrong"}, OperatorNeeded, "store-refused"),
        ({"url": "s3://no-such-bucket/site"}, OperatorNeeded, "store-refused"),
        ({"endpoint": "http://127.0.0.1:9"}, RetryLater, "store-away"),
    ],
)
def test_a_bucket_that_cannot_be_used_is_never_taken_for_an_empty_one(
    server: Storage, tmp_path: Path, changes: dict[str, str], fault: type[Exception], code: str
) -> None:
    files = bucket_store(server, tmp_path / "cache", **changes)
    source, key = tmp_path / "source", image_key("2.25.4711", "2.25.4712", "2.25.4713", SHA256)
    source.write_bytes(b"1")

    def write() -> None:
        with files.folder("readings/r") as out:
            out.mkdir()
            (out / "reading.json").write_text("{}")

    acts = [
        lambda: files.path(key),
        lambda: files.paths([key]),
        lambda: files.present([key]),
        lambda: files.put(key, b"1"),
        lambda: files.bring({key: source}),
        lambda: files.read(key),
        lambda: files.delete(key),
        files.probe,
        write,
    ]
    for act in acts:
        with pytest.raises(fault) as told:
            act()
        assert told.value.code == code
        assert "4711" not in str(told.value)
    assert source.exists()
    assert not list((tmp_path / "cache").glob(".results-*"))


def test_what_is_in_the_cache_is_read_while_the_bucket_is_away(tmp_path: Path) -> None:
    with storage(tmp_path / "storage") as server:
        files, key = bucket_store(server, tmp_path / "cache"), new_key()
        source = tmp_path / "source"
        source.write_bytes(b"1")
        files.bring({key: source})
    assert files.read(key) == b"1"
    with pytest.raises(RetryLater):
        files.read(new_key())


def test_objects_wait_in_the_spool_while_the_bucket_is_away(tmp_path: Path) -> None:
    database = databases.sqlite(tmp_path / "node.sqlite")
    spool = Spool(tmp_path / "spool")
    spool.open("a1")
    for number in range(3):
        spool.write("a1", save(make_slice(number), tmp_path / "made.dcm").read_bytes())
    with storage(tmp_path / "storage") as server:
        store = Store(database=database, files=bucket_store(server, tmp_path / "cache"))
        server.kill()
        with pytest.raises(RetryLater):
            file_waiting(store, spool, "a1", settings=Settings())
        assert len(spool.waiting("a1")) == 3
        server.start()
        outcomes = file_waiting(store, spool, "a1", settings=Settings())
        assert [outcome.status for outcome in outcomes] == [Status.FILED] * 3
        assert len(server.held()) == 3
        assert not spool.waiting("a1")

        # one that is lost comes back by being sent again
        bucket_store(server, tmp_path / "other").delete(server.held()[0])
        for number in range(3):
            spool.write("a1", save(make_slice(number), tmp_path / "made.dcm").read_bytes())
        outcomes = file_waiting(store, spool, "a1", settings=Settings())
        assert [outcome.status for outcome in outcomes] == [Status.DUPLICATE] * 3
        assert len(server.held()) == 3
    database.close()
    opener.close()


def test_settings_choose_the_store_and_keep_the_secret(
    server: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PNEUMOSCOPE_NODE__FOLDER", str(tmp_path))
    assert isinstance(open_files(Settings()), FolderStore)
    monkeypatch.setenv("PNEUMOSCOPE_BUCKET__URL", "s3://bucket/site")
    for name, value in (
        ("AWS_ENDPOINT_URL", server.endpoint),
        ("AWS_ACCESS_KEY_ID", server.key_id),
        ("AWS_SECRET_ACCESS_KEY", server.secret),
    ):
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert "can be written" in open_files(settings).probe()
    assert "hush" not in repr(Bucket(key_id="me", secret="hush"))


# the cache


def age(path: Path, *, hours: float) -> None:
    moment_s = time.time() - 3600 * hours
    os.utime(path, (moment_s, moment_s))


def test_what_was_used_least_recently_goes_first_and_what_is_in_use_stays(tmp_path: Path) -> None:
    roomy, cache = (Cache(tmp_path, most_bytes=megabytes * MB, most_share=1.0) for megabytes in (100, 3))
    keys = [new_key() for _ in range(6)]
    for hours, key in enumerate(keys):
        age(roomy.add(key, [bytes(MB)]), hours=10 - hours)
    assert cache.find(keys[0])  # the oldest, and now the newest
    cache.trim()
    assert [cache.place(key).exists() for key in keys] == [True, False, False, False, True, True]
    for key in keys:
        assert roomy.add(key, [bytes(MB)]).exists()
    cache.trim()
    assert all(cache.place(key).exists() for key in keys)  # beyond the bound, but a reading may be about to open them


def test_adding_alone_keeps_the_cache_within_its_bound(tmp_path: Path) -> None:
    cache = Cache(tmp_path, most_bytes=10 * MB, most_share=1.0, grace_s=0)
    for _ in range(40):
        cache.add(new_key(), [bytes(MB)])
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 11 * MB


def test_a_full_disk_makes_the_cache_smaller(tmp_path: Path) -> None:
    cache = Cache(tmp_path, most_bytes=1000 * MB, most_share=1e-9, grace_s=60)
    old, new = new_key(), new_key()
    age(cache.add(old, [b"1"]), hours=1)
    cache.add(new, [b"1"])
    cache.trim()
    assert not cache.place(old).exists()
    assert cache.place(new).exists()


def test_a_copy_that_breaks_off_leaves_nothing_and_what_a_dead_process_left_goes(tmp_path: Path) -> None:
    cache, key = Cache(tmp_path, most_bytes=MB, most_share=1.0), new_key()

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise RetryLater("it broke off")

    with pytest.raises(RetryLater):
        cache.add(key, broken())
    assert cache.find(key) is None
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    left = cache.place(key).with_name(".partial-left")
    left.write_bytes(b"half")
    cache.trim()
    assert left.exists()  # another process may be writing it
    age(left, hours=48)
    cache.trim()
    assert not left.exists()


def test_what_is_brought_is_in_the_cache_without_a_second_copy(server: Storage, tmp_path: Path) -> None:
    files, key, source = bucket_store(server, tmp_path / "cache"), new_key(), tmp_path / "source"
    source.write_bytes(b"1")
    for _ in range(2):
        files.bring({key: source})
    assert files.path(key).samefile(source)
    assert len([path for path in (tmp_path / "cache").rglob("*") if path.is_file()]) == 1
