"""Zip archives, unpacked where they can do no harm."""

import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from pneumoscope.errors import OperatorNeeded, UnsafeArchive

#: More than any study: a whole-body CT of 20,000 files; 16 GiB.
MAX_MEMBERS = 50_000
MAX_TOTAL_BYTES = 16 * 2**30
#: Deflate cannot exceed 1,032; medical images stay under 20, all-air slices reach a few hundred.
MAX_RATIO = 200
RATIO_FREE_BYTES = 64 * 2**20
_BLOCK_BYTES = 2**20


def unpack(archive: Path, *, to: Path, keep_names: bool = False) -> int:
    """Unpack the members of a zip into ``to`` under running numbers, or their names without folders, and return how many.

    Raises UnsafeArchive for members that point outside, links, encryption and bombs; sizes are counted while unpacking, since
    the declared ones may lie. Nested archives are not opened.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [info for info in opened.infolist() if not info.is_dir()]
            _refuse_unsafe(members)
            return _extract(opened, members, to, archive_bytes=archive.stat().st_size, keep_names=keep_names)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, zipfile.zlib.error) as fault:  # type: ignore[attr-defined]
        raise UnsafeArchive(
            "The zip archive is damaged or of a kind that cannot be read; allowed are undamaged zip files.",
            code="damaged-archive",
        ) from fault


def _refuse_unsafe(members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MAX_MEMBERS:
        raise UnsafeArchive(
            f"The archive has {len(members)} members; at most {MAX_MEMBERS} are allowed.", code="archive-too-large"
        )
    for info in members:
        name = PurePosixPath(info.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
            raise UnsafeArchive("A member of the archive points outside of it; no member may.", code="archive-escapes")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise UnsafeArchive("The archive holds a link; only plain files are allowed.", code="archive-link")
        if info.flag_bits & 1:
            raise UnsafeArchive("The archive is encrypted; only open archives can be read.", code="archive-encrypted")


def _extract(opened: zipfile.ZipFile, members: list[zipfile.ZipInfo], to: Path, *, archive_bytes: int, keep_names: bool) -> int:
    limit = min(MAX_TOTAL_BYTES, max(RATIO_FREE_BYTES, MAX_RATIO * archive_bytes))
    written = 0
    for number, info in enumerate(members):
        name = PurePosixPath(info.filename).name if keep_names else f"{number:06d}"
        with opened.open(info) as source, (to / name).open("wb") as target:
            while block := source.read(_BLOCK_BYTES):
                written += len(block)
                if written > limit:
                    raise UnsafeArchive(
                        f"The archive unpacks to more than {limit // 2**20} MiB, from {archive_bytes / 2**20:.1f} MiB packed; "
                        f"at most {MAX_RATIO} times its size and {MAX_TOTAL_BYTES // 2**30} GiB are allowed.",
                        code="archive-bomb",
                    )
                if written % (64 * _BLOCK_BYTES) < _BLOCK_BYTES and shutil.disk_usage(to).free < 2 * _BLOCK_BYTES:
                    raise OperatorNeeded("The disk for temporary files is full.", code="disk-full")
                target.write(block)
    return len(members)
