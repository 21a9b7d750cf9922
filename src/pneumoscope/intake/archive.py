"""Zip archives, unpacked where they can do no harm."""

import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeVar

from pneumoscope.errors import OperatorNeeded, UnsafeArchive

#: More than any study: a whole-body CT of 20,000 files; 16 GiB.
MAX_MEMBERS = 50_000
MAX_TOTAL_BYTES = 16 * 2**30
#: Deflate cannot exceed 1,032; medical images stay under 20, all-air slices reach a few hundred.
MAX_RATIO = 200
RATIO_FREE_BYTES = 64 * 2**20
_BLOCK_BYTES = 2**20
_Answer = TypeVar("_Answer")


def unpack(archive: Path, *, to: Path, keep_names: bool = False) -> int:
    """Unpack the members of a zip into ``to`` under running numbers, or their names without folders, and return how many.

    Raises UnsafeArchive for members that point outside, links, encryption and bombs; sizes are counted while unpacking, since
    the declared ones may lie. Nested archives are not opened.
    """
    with _opened(archive) as (opened, members):
        return _extract(opened, members, to, archive_bytes=archive.stat().st_size, keep_names=keep_names)


def contents(archive: BinaryIO, *, archive_bytes: int, most_bytes: int) -> Iterator[bytes]:
    """The members of a zip, one after the other and each whole in memory, so that nothing of them touches a disk.

    Raises UnsafeArchive as ``unpack`` does, and for a member of more than ``most_bytes``.
    """
    with _opened(archive) as (opened, members):
        for _, blocks in _counted(opened, members, archive_bytes=archive_bytes):
            content = bytearray()
            for block in blocks:
                content += block
                if len(content) > most_bytes:
                    raise UnsafeArchive(
                        f"The archive holds a file of more than {most_bytes // 2**20} MiB; none may be larger here.",
                        code="archive-too-large",
                    )
            yield bytes(content)


@contextmanager
def _opened(archive: Path | BinaryIO) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [info for info in opened.infolist() if not info.filename.endswith("/")]
            _refuse_unsafe(members)
            yield opened, members
    except (zipfile.BadZipFile, EOFError, NotImplementedError, UnicodeDecodeError) as fault:
        raise _damaged() from fault


def _damaged() -> UnsafeArchive:
    return UnsafeArchive(
        "The zip archive is damaged or of a kind that cannot be read; allowed are undamaged zip files.", code="damaged-archive"
    )


def _refuse_unsafe(members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MAX_MEMBERS:
        raise UnsafeArchive(
            f"The archive has {len(members)} members; at most {MAX_MEMBERS} are allowed.", code="archive-too-large"
        )
    for info in members:
        name = PurePosixPath(info.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or not name.name or ":" in name.parts[0]:
            raise UnsafeArchive("A member of the archive points outside of it; no member may.", code="archive-escapes")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise UnsafeArchive("The archive holds a link; only plain files are allowed.", code="archive-link")
        if info.flag_bits & 1:
            raise UnsafeArchive("The archive is encrypted; only open archives can be read.", code="archive-encrypted")


def _extract(opened: zipfile.ZipFile, members: list[zipfile.ZipInfo], to: Path, *, archive_bytes: int, keep_names: bool) -> int:
    written = 0
    for number, (info, blocks) in enumerate(_counted(opened, members, archive_bytes=archive_bytes)):
        name = PurePosixPath(info.filename).name if keep_names else f"{number:06d}"
        with (to / name).open("wb") as target:
            for block in blocks:
                written += len(block)
                if written % (64 * _BLOCK_BYTES) < _BLOCK_BYTES and shutil.disk_usage(to).free < 2 * _BLOCK_BYTES:
                    raise OperatorNeeded("The disk for temporary files is full.", code="disk-full")
                target.write(block)
    return len(members)


def _counted(
    opened: zipfile.ZipFile, members: list[zipfile.ZipInfo], *, archive_bytes: int
) -> Iterator[tuple[zipfile.ZipInfo, Iterator[bytes]]]:
    limit = min(MAX_TOTAL_BYTES, max(RATIO_FREE_BYTES, MAX_RATIO * archive_bytes))
    seen = 0

    def blocks(info: zipfile.ZipInfo) -> Iterator[bytes]:
        nonlocal seen
        with _ask(lambda: opened.open(info)) as source:
            while block := _ask(lambda: source.read(_BLOCK_BYTES)):
                seen += len(block)
                if seen > limit:
                    raise UnsafeArchive(
                        f"The archive unpacks to more than {limit // 2**20} MiB, from {archive_bytes / 2**20:.1f} MiB packed; "
                        f"at most {MAX_RATIO} times its size and {MAX_TOTAL_BYTES // 2**30} GiB are allowed.",
                        code="archive-bomb",
                    )
                yield block

    for info in members:
        yield info, blocks(info)


def _ask(archive: Callable[[], _Answer]) -> _Answer:
    try:
        return archive()
    except (zlib.error, lzma.LZMAError, OSError) as fault:  # an OSError is what bzip2 says of damaged data, and a seek before 0
        raise _damaged() from fault
