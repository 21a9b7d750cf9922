"""A bucket of S3-compatible object storage as the file store, with copies on this machine for those who need a file."""

import shutil
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from pneumoscope.errors import OperatorNeeded, RetryLater
from pneumoscope.store.cache import LEFT_OVER_S, Cache
from pneumoscope.store.files import check_key, explain, free_share

if TYPE_CHECKING:
    from obstore.store import ClientConfig

#: Requests at once: enough to hide the way to the store, few enough for its smallest kinds.
PARALLEL = 16
#: Larger files are sent in parts of 5 MiB, so many of each at once.
PARTS_AT_ONCE = 2
_BLOCK_BYTES = 2**20
_RESULTS = ".results-"


def open_bucket(
    *, url: str, endpoint: str = "", region: str = "", key_id: str = "", secret: str = "", authorities: Path | None = None
) -> S3Store:
    """The bucket at ``s3://bucket/prefix``, by path-style requests. What is empty comes from AWS's own variables.

    Raises OperatorNeeded.
    """
    name, _, prefix = url.removeprefix("s3://").partition("/")
    given = {"endpoint": endpoint, "region": region, "access_key_id": key_id, "secret_access_key": secret}
    client: ClientConfig = {
        "allow_http": True,  # where the endpoint says so
        "connect_timeout": "5s",
        "read_timeout": "30s",
        "timeout": "15m",  # the largest object over a slow line
    }
    try:
        if authorities:
            client["root_certificate"] = authorities.read_bytes()
        return S3Store(
            name,
            prefix=prefix.strip("/") or None,
            config={key: value for key, value in given.items() if value},  # type: ignore[arg-type]  # keys as they are named
            client_options=client,
            # no longer: whoever asks has a patience of their own
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=10)},
        )
    except OSError as fault:
        raise OperatorNeeded("The certificates of `bucket.authorities` cannot be read.", code="settings-wrong") from fault
    except (BaseError, ValueError):
        raise OperatorNeeded("The settings of the bucket cannot be used.", code="settings-wrong") from None


class BucketStore:
    """Objects are durable in the bucket when a write returns; the cache has copies, and may be lost at any time."""

    def __init__(self, bucket: S3Store, cache: Cache) -> None:
        self._bucket, self._cache = bucket, cache
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="bucket")

    def path(self, key: str) -> Path:
        """The copy of ``key``, fetched where there is none; it does not exist where the bucket has none either."""
        found = self._cache.find(check_key(key))
        if found:
            return found
        try:
            with _faults():
                got = obstore.get(self._bucket, key)
        except FileNotFoundError:
            return self._cache.place(key)
        try:
            with _faults():
                return self._cache.add(key, got.stream(min_chunk_size=_BLOCK_BYTES))
        except FileNotFoundError:  # someone cleared the cache in this very moment
            raise RetryLater("The cache was cleared.", code="store-away") from None

    def paths(self, keys: Sequence[str]) -> list[Path]:
        """As ``path``, many at once."""
        return list(self._pool.map(self.path, keys))

    def present(self, keys: Iterable[str]) -> set[str]:
        """Those of ``keys`` that the bucket has, whatever is in the cache."""
        keys = list(keys)
        return {key for key, there in zip(keys, self._pool.map(self._has, keys), strict=True) if there}

    def _has(self, key: str) -> bool:
        try:
            with _faults():
                obstore.head(self._bucket, check_key(key))
        except FileNotFoundError:  # an answer to HEAD has no body, which would tell of a bucket that is missing
            try:
                with _faults():
                    obstore.get(self._bucket, key)
            except FileNotFoundError:
                return False
        return True

    def put(self, key: str, content: bytes) -> None:
        """Durable when this returns."""
        with _faults():
            obstore.put(self._bucket, check_key(key), content)
            self._cache.drop(key)

    def bring(self, sources: Mapping[str, Path]) -> None:
        """Durable when this returns, many at once; the cache has them without another copy."""
        list(self._pool.map(self._bring, sources.keys(), sources.values()))

    def _bring(self, key: str, source: Path) -> None:
        with _faults():
            obstore.put(self._bucket, check_key(key), source, max_concurrency=PARTS_AT_ONCE)
        with suppress(OSError):  # a full disk must not keep the spool from being emptied
            self._cache.adopt(key, source)

    @contextmanager
    def folder(self, key: str) -> Iterator[Path]:
        """On this machine; brought when the context closes without a fault. A bucket that is away is told at once."""
        self.probe()
        with _faults():
            self._cache.root.mkdir(parents=True, exist_ok=True)
            self._sweep()
            made = Path(tempfile.mkdtemp(prefix=_RESULTS, dir=self._cache.root))
        try:
            yield made / "folder"
            files = sorted((made / "folder").iterdir()) if (made / "folder").is_dir() else []
            self.bring({f"{key}/{file.name}": file for file in files})
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def _sweep(self) -> None:
        """What a process that died left."""
        for left in self._cache.root.glob(f"{_RESULTS}*"):
            with suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > LEFT_OVER_S:
                    shutil.rmtree(left, ignore_errors=True)

    def read(self, key: str) -> bytes:
        """The content of ``key``. Raises FileNotFoundError."""
        return self.path(key).read_bytes()

    def delete(self, *keys: str) -> None:
        """By one request for up to a thousand."""
        with _faults():
            obstore.delete(self._bucket, list(map(check_key, keys)))
        for key in keys:
            self._cache.drop(key)

    def sync(self, keys: Iterable[str]) -> None:
        """Nothing: the bucket took none that is not durable."""

    def free_share(self) -> float:
        """Part of the disk with spool and cache that is free, 0 to 1."""
        return free_share(self._cache.root)

    def is_crowded(self, most_share: float) -> bool:
        """Never: a bucket has no end that we know of, and the cache makes its own room."""
        return False

    def probe(self) -> str:
        """Write, read and remove an object of one byte."""
        key = f"probe/{uuid.uuid4().hex}"
        with _faults():
            obstore.put(self._bucket, key, b"1")
            obstore.get(self._bucket, key).bytes()
            obstore.delete(self._bucket, [key])
        return "The bucket answers, and can be written, read and cleared."


@contextmanager
def _faults() -> Iterator[None]:
    """The library's faults as ours, without its words, which hold keys and so UIDs. FileNotFoundError stays."""
    try:
        yield
    except FileNotFoundError as fault:
        if "NoSuchBucket" in str(fault):
            raise OperatorNeeded("The bucket does not exist.", code="store-refused") from None
        raise FileNotFoundError from None
    except (PermissionDeniedError, UnauthenticatedError):
        raise OperatorNeeded("The object storage refuses our key, or the right to do this.", code="store-refused") from None
    except BaseError:
        raise RetryLater("The object storage does not answer as it should.", code="store-away") from None
    except OSError as fault:
        raise explain(fault) from fault
