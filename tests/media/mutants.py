"""Damaged, mislabelled and hostile media files, made from good ones: deterministic, given the generator."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

import numpy as np

from tests.media.impostors import IMPOSTORS

Mutation = Callable[[bytes, bytes, np.random.Generator], bytes]
"""From a video, another one in the same container and a generator to the mutant."""

HEADER_BYTES = 4096
_EXTREMES = {
    "H": (0, 1, 0x7FFF, 0xFFFF),
    "I": (0, 1, 2, 1000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFF00),
    "d": (0.0, -1.0, 1e-9, 1e9, 1e300, float("nan"), float("inf")),
}
# Tag, offset of the value from the tag, and its type: mp4, AVI, Matroska, FLV and WAV headers.
_FIELDS: dict[str, tuple[tuple[bytes, int, str], ...]] = {
    "dimensions": (
        *((tag, offset, ">H") for tag in (b"avc1", b"jpeg") for offset in (28, 30)),
        *((b"tkhd", offset, ">I") for offset in (80, 84)),
        *((b"avih", offset, "<I") for offset in (40, 44)),
        *((b"strf", offset, "<I") for offset in (12, 16)),
        *((tag, len(tag) + 1, ">d") for tag in (b"width", b"height")),
    ),
    "frame rate": (
        (b"mdhd", 16, ">I"),
        (b"stts", 8, ">I"),
        (b"stts", 12, ">I"),
        (b"stts", 16, ">I"),
        (b"avih", 8, "<I"),
        (b"strh", 28, "<I"),
        (b"strh", 32, "<I"),
        (b"\x23\xe3\x83\x84", 4, ">I"),
        (b"\x2a\xd7\xb1", 3, ">I"),
        (b"framerate", 10, ">d"),
    ),
    "duration": (
        (b"mvhd", 20, ">I"),
        (b"mdhd", 20, ">I"),
        (b"tkhd", 24, ">I"),
        (b"elst", 12, ">I"),
        (b"avih", 24, "<I"),
        (b"strh", 40, "<I"),
        (b"\x44\x89\x88", 3, ">d"),
        (b"duration", 9, ">d"),
        (b"data", 4, "<I"),
        (b"RIFF", 4, "<I"),
    ),
    "timestamps": (
        (b"elst", 16, ">I"),
        (b"ctts", 16, ">I"),
        (b"stts", 16, ">I"),
        (b"strh", 36, "<I"),
        (b"\x1f\x43\xb6\x75", 10, ">H"),
        (b"\x1f\x43\xb6\x75", 12, ">H"),
    ),
    "sound format": (
        (b"fmt ", 10, "<H"),
        (b"fmt ", 12, "<I"),
        (b"fmt ", 20, "<H"),
        (b"fmt ", 22, "<H"),
        (b"auds", 20, "<I"),
        (b"auds", 24, "<I"),
        (b"mp4a", 20, ">H"),
        (b"mp4a", 28, ">H"),
        (b"\xb5\x88", 2, ">d"),
    ),
    "sample table": tuple(
        (tag, offset, ">I") for tag in (b"stsz", b"stco", b"stsc", b"stsd", b"idx1") for offset in (8, 12, 16, 20)
    ),
}


def truncated(film: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Ends early."""
    return film[: _within(rng, len(film))]


def headless(film: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Begins late."""
    return film[_within(rng, len(film)) :]


def flipped_header(film: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A few bits of the first 4 KB are wrong."""
    return _flipped(film, rng, int(rng.integers(1, 9)), 0, HEADER_BYTES)


def flipped_payload(film: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Up to 64 bits beyond the first 4 KB are wrong."""
    return _flipped(film, rng, int(rng.integers(1, 65)), HEADER_BYTES, len(film))


def flipped_everywhere(film: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """One bit in a thousand is wrong."""
    return _flipped(film, rng, len(film) // 125, 0, len(film))


def zeroed_block(film: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A hole of zeros, as a disk leaves it."""
    start, end = _block(film, rng)
    return film[:start] + bytes(end - start) + film[end:]


def lost_block(film: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A piece is missing."""
    start, end = _block(film, rng)
    return film[:start] + film[end:]


def swapped_blocks(film: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Two pieces have changed places."""
    a, b, c, d = sorted(_within(rng, len(film)) for _ in range(4))
    return film[:a] + film[c:d] + film[b:c] + film[a:b] + film[d:]


def repeated_header(film: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """The index of an mp4, or else the first bytes, come twice."""
    at = film.find(b"moov") - 4
    end = at + int.from_bytes(film[at : at + 4], "big") if at >= 0 else _within(rng, HEADER_BYTES)
    start = max(at, 0)
    return film[:end] + film[start:end] + film[end:]


def spliced(film: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Begins as one video and ends as another."""
    at = _within(rng, min(len(film), len(other)))
    return film[:at] + other[at:]


def appended(film: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Another video behind the first."""
    return film + other


def _field(name: str) -> Mutation:
    """Overwrites values of the header with extreme ones."""

    def overwritten(film: bytes, other: bytes, rng: np.random.Generator) -> bytes:
        present = [field for field in _FIELDS[name] if field[0] in film]
        if not present:
            return flipped_header(film, other, rng)
        mutant = bytearray(film)
        for _ in range(int(rng.integers(1, 4))):
            tag, offset, kind = present[int(rng.integers(len(present)))]
            places = [found.start() + offset for found in re.finditer(re.escape(tag), film)]
            values = _EXTREMES[kind[1]]
            value = struct.pack(kind, values[int(rng.integers(len(values)))])
            at = places[int(rng.integers(len(places)))]
            mutant[at : at + len(value)] = value
        return bytes(mutant)

    return overwritten


MUTATIONS: dict[str, Mutation] = {
    "truncated": truncated,
    "headless": headless,
    "bits flipped in the header": flipped_header,
    "bits flipped in the payload": flipped_payload,
    "bits flipped everywhere": flipped_everywhere,
    "zeroed block": zeroed_block,
    "lost block": lost_block,
    "swapped blocks": swapped_blocks,
    "repeated header": repeated_header,
    **{f"absurd {name}": _field(name) for name in _FIELDS},
    "spliced": spliced,
    "appended": appended,
    **IMPOSTORS,
}
MIXED = ("spliced", "appended")
"""Mutations after which the file itself holds both videos."""
REORDERED = (*MIXED, "swapped blocks", "repeated header")
"""Mutations after which the file itself may hold its images in another order."""


def _within(rng: np.random.Generator, size: int) -> int:
    return int(rng.integers(1, max(size, 2)))


def _block(film: bytes, rng: np.random.Generator) -> tuple[int, int]:
    start = _within(rng, len(film))
    return start, min(len(film), start + int(2 ** rng.uniform(3, np.log2(len(film) / 2))))


def _flipped(film: bytes, rng: np.random.Generator, num_bits: int, start: int, end: int) -> bytes:
    mutant = bytearray(film)
    for at in rng.integers(min(start, len(film) - 1), min(end, len(film)), num_bits):
        mutant[at] ^= 1 << int(rng.integers(8))
    return bytes(mutant)
