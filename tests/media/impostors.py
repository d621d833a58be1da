"""Files that are no videos, whatever they are called: made from videos, deterministic, given the generator."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np


def zip_archive(film: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A video in a zip file, stored, under a name that leaves the folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("../../escaped.mp4", film)
    return buffer.getvalue()


def tar_archive(film: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A video in a tar file, under a name that leaves the folder, gzipped or not."""
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
    """An image of up to 900 megapixels in a megabyte."""
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


IMPOSTORS = {"zip": zip_archive, "tar": tar_archive, "noise": noise, "text": text, "png": png_bomb}
NOT_MEDIA = (*IMPOSTORS, "playlist")
"""What must never be taken for a clip."""
