"""Perceptual hashes: whether a picture was seen before, without keeping the picture.

The hash is the sign of the 256 lowest cosine frequencies of the picture at 64 x 64 (after Zauner, "Implementation and
benchmarking of perceptual image hash functions", 2010): it survives another size, encoder, brightness and contrast. 32 bytes
tell nobody what the picture shows.
"""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft

BITS = 256
#: At most so many of the bits differ between two copies of a picture. Measured: see docs/how-to/accept-a-model.md.
MAX_DIFFERENT_BITS = 40
FILE_NAME = "fingerprints.npz"
_SIDE_PX, _FREQUENCIES = 64, 16


def fingerprint(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(32,) bytes for an 8-bit picture (row, column); the dark margin around the body does not count."""
    inside = grey > 25
    rows, columns = np.flatnonzero(inside.mean(1) > 0.02), np.flatnonzero(inside.mean(0) > 0.02)
    if len(rows) > 8 and len(columns) > 8:
        grey = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    small = Image.fromarray(grey).resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BOX)
    low = fft.dctn(np.asarray(small, dtype=np.float32))[: _FREQUENCIES + 1, : _FREQUENCIES + 1].ravel()[1 : BITS + 1]
    return np.packbits(low > np.median(low))


def different_bits(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(n, m) numbers of bits that differ between (n, 32) and (m, 32) fingerprints."""
    x, y = (np.unpackbits(bytes_, axis=1).astype(np.float32) for bytes_ in (a, b))
    return np.rint(x.sum(1)[:, None] + y.sum(1)[None] - 2 * x @ y.T).astype(np.int64)


def pack(prints: Sequence[NDArray[np.uint8]]) -> bytes:
    """The file of a bundle that holds the fingerprints of its training pictures; sorted, so that it tells no order."""
    stream = io.BytesIO()
    np.savez_compressed(stream, fingerprints=np.unique(np.stack(prints), axis=0))
    return stream.getvalue()


def unpack(content: bytes) -> NDArray[np.uint8]:
    """(n, 32) fingerprints from such a file."""
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        return np.asarray(stored["fingerprints"], dtype=np.uint8).reshape(-1, BITS // 8)


def seen(cases: Sequence[NDArray[np.uint8]], known: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether each case, of one picture or several slices (n, 32), is among known ones (m, 32): most of it matches."""
    if not len(known):
        return np.zeros(len(cases), dtype=bool)
    every = np.concatenate([*cases, np.empty((0, BITS // 8), dtype=np.uint8)])
    parts = [every[k : k + 500] for k in range(0, len(every), 500)]
    found = [different_bits(part, known).min(axis=1) <= MAX_DIFFERENT_BITS for part in parts]
    match = np.concatenate([np.empty(0, dtype=bool), *found])
    ends = np.cumsum([len(prints) for prints in cases])
    return np.array([len(m) > 0 and m.mean() > 0.5 for m in np.split(match, ends)[: len(cases)]], dtype=bool)


def duplicates(cases: Sequence[NDArray[np.uint8]]) -> list[tuple[int, int]]:
    """Pairs (earlier, later) of cases that are the same picture or scan; each later one is named once."""
    owner = np.repeat(np.arange(len(cases)), [len(prints) for prints in cases])
    every = np.concatenate([*cases, np.empty((0, BITS // 8), dtype=np.uint8)])
    pairs = []
    for later, prints in enumerate(cases):
        if not len(prints) or not (earlier := int(np.searchsorted(owner, later))):
            continue
        match = different_bits(prints, every[:earlier]) <= MAX_DIFFERENT_BITS
        owners = np.unique(owner[:earlier][match.any(axis=0)])
        found = [int(o) for o in owners if match[:, owner[:earlier] == o].any(axis=1).mean() > 0.5]
        if found:
            pairs.append((found[0], later))
    return pairs
