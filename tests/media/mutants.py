"""Damaged, mislabelled and hostile media files, made from good ones: deterministic, given the generator."""

from __future__ import annotations

import io
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

Mutation = Callable[[bytes, bytes, np.random.Generator], bytes]
"""From a film, another one in the same container and a generator to the mutant."""

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
    """Begins as one film and ends as another."""
    at = _within(rng, min(len(film), len(other)))
    return film[:at] + other[at:]


def appended(film: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Another film behind the first."""
    return film + other


def zip_archive(film: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A film in a zip file, stored, under a name that leaves the folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("../../escaped.mp4", film)
    return buffer.getvalue()


def tar_archive(film: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A film in a tar file, under a name that leaves the folder, gzipped or not."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=("w", "w:gz")[int(rng.integers(2))]) as archive:
        member = tarfile.TarInfo("../../escaped.mp4")
        member.size = len(film)
        archive.addfile(member, io.BytesIO(film))
    return buffer.getvalue()


def noise(film: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Random bytes, or one byte over and over."""
    size = int(rng.integers(1, 50_000))
    return rng.bytes(size) if rng.random() < 0.7 else bytes([int(rng.integers(256))]) * size


def text(film: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Prose, markup, a table, an SVG."""
    kinds = ("A text.\n" * 99, "<html><body>404 not found</body></html>", "a,b\n1,2\n" * 50, "<svg width='9'/>", "\n")
    return kinds[int(rng.integers(len(kinds)))].encode()


def png_bomb(film: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A picture of up to 900 megapixels in a megabyte."""
    side = int(rng.choice([1, 300, 30_000]))
    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(side // 8 + 2)) for _ in range(side)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def playlist(target: Path, rng: np.random.Generator) -> bytes:
    """A file that tells FFmpeg to play another one, in one of the languages it knows."""
    name = str(rng.choice([str(target), target.name, f"file:{target}", "/etc/passwd", "http://127.0.0.1:9/a.mp4"]))
    hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{name}\n#EXT-X-ENDLIST\n"
    mpd = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="0">'
        f"<BaseURL>{name}</BaseURL></Representation></AdaptationSet></Period></MPD>"
    )
    kinds = (
        hls,
        f"ffconcat version 1.0\nfile '{name}'\n",
        f"file '{name}'\n",
        mpd,
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        f"[playlist]\nFile1={name}\nNumberOfEntries=1\n",
        f"[Reference]\nRef1={name}\n",
        f'<asx version="3.0"><entry><ref href="{name}"/></entry></asx>',
        f'FILE "{name}" BINARY\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n',
        f"# VobSub index file, v7\nid: en, index: 0\n{name}\n",
        f"concat:{name}|{name}",
    )
    return kinds[int(rng.integers(len(kinds)))].encode()


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
    "zip": zip_archive,
    "tar": tar_archive,
    "noise": noise,
    "text": text,
    "png": png_bomb,
}
MIXED = ("spliced", "appended")
"""Mutations after which the file itself holds both films."""
REORDERED = (*MIXED, "swapped blocks", "repeated header")
"""Mutations after which the file itself may hold its pictures in another order."""
NOT_MEDIA = ("zip", "tar", "noise", "text", "png", "playlist")
"""What must never be taken for a clip."""


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
