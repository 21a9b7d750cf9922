"""Opens what the settings name: the database, and the file store in a folder or in a bucket."""

from pathlib import Path

from pneumoscope.config import Settings
from pneumoscope.errors import OperatorNeeded
from pneumoscope.store import FileStore, FolderStore, Store

_MB = 1_000_000


def make_folders(settings: Settings, *others: Path) -> None:
    """Those of all that is kept, and ``others``, for the eyes of who runs it alone. Raises OperatorNeeded."""
    kept = settings.cache if settings.bucket.url else settings.objects
    try:
        for folder in (settings.node.folder, kept, *others):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)  # patients' data
    except OSError as fault:
        what = f"{fault.filename or settings.node.folder}: {fault.strerror}"
        raise OperatorNeeded(f"The folder cannot be made or written: {what}.", code="store-unwritable") from fault


def open_store(settings: Settings) -> Store:
    """Both halves, as every process of the node holds them. Raises OperatorNeeded."""
    files = open_files(settings)
    return Store.open(database_url=settings.database_url, files=files)


def open_files(settings: Settings) -> FileStore:
    """The file store. Raises OperatorNeeded."""
    given = settings.bucket
    if not given.url:
        return FolderStore(settings.objects)
    from pneumoscope.store.bucket import BucketStore, open_bucket
    from pneumoscope.store.cache import Cache

    bucket = open_bucket(
        url=given.url,
        endpoint=given.endpoint,
        region=given.region,
        key_id=given.key_id,
        secret=given.secret,
        authorities=given.authorities,
    )
    return BucketStore(bucket, Cache(settings.cache, most_bytes=given.cache_mb * _MB, most_share=settings.disk.max_share))
