import csv
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hicmae_core.config import DatasetParams, FacesParams, PreparationParams
from hicmae_core.media.decoding import probe
from hicmae_core.preparation.building import build_manifest
from hicmae_core.preparation.pool import in_processes, run_clip
from hicmae_core.preparation.preparing import prepare_audio, prepare_faces
from hicmae_core.store.shards import ClipStore
from tests.media.coded_films import CONTAINERS, write_coded_film
from tests.media.films import background, tone, write_film
from tests.media.impostors import IMPOSTORS, playlist
from tests.media.mutants import flipped_everywhere, headless, truncated
from tests.media.users import without_privileges

DATASET = DatasetParams(corpus="csv", task="unlabelled")
FACES = FacesParams(detect_size=128, size=32)
PREPARATION = PreparationParams(max_reject_fraction=1, num_shards=2, max_clip_seconds=5)
GOOD = {"good": "mp4", "ünïcödé 映画": "avi", "=1+1": "webm", "../up": "mkv"}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good videos, and a file of every kind that is not."""
    root = tmp_path_factory.mktemp("corpus") / "raw"
    root.mkdir()
    containers = {container.suffix: container for container in CONTAINERS}
    for number, suffix in enumerate(GOOD.values()):
        write_coded_film(root / f"good{number}.{suffix}", number, containers[suffix])
    film, rng = (root / "good0.mp4").read_bytes(), np.random.default_rng(0)
    for name, mutation in {
        **IMPOSTORS,
        "truncated": truncated,
        "headless": headless,
        "rotten": flipped_everywhere,
    }.items():
        (root / f"{name}.mp4").write_bytes(mutation(film, film, rng))
    for number in range(5):
        (root / f"playlist{number}.mp4").write_bytes(playlist(root / "good0.mp4", rng))
    (root / "concat.mp4").write_text("ffconcat version 1.0\nfile good0.mp4\n")
    (root / "zero.mp4").touch()
    (root / "folder.mp4").mkdir()
    os.mkfifo(root / "pipe.mp4")
    (root / "dangling.mp4").symlink_to("nowhere.mp4")
    (root / "circle.mp4").symlink_to("circle.mp4")
    write_film(root / "faceless.mp4", [background()] * 10)
    write_film(root / "long.mp4", [background()] * 150, tone(6))
    return root


def clips_of(raw: Path) -> list[tuple[str, str]]:
    """Clip ids and files; the ids of the good ones first."""
    good = [(clip_id, f"good{number}.{suffix}") for number, (clip_id, suffix) in enumerate(GOOD.items())]
    bad = [
        (path.stem, path.name) for path in sorted(raw.iterdir()) if path.suffix == ".mp4" and path.name != "good0.mp4"
    ]
    return [
        *good,
        *bad,
        ("absent", "absent.mp4"),
        ("nul", "nul\0/a.mp4"),
        ("endless", "x" * 300 + ".mp4"),
        ("deep", "a/" * 3000 + "a.mp4"),
    ]


def write_table(root: Path, clips: list[tuple[str, str]]) -> None:
    with open(root / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("clip_id", "video"), *clips])


def prepare(root: Path, out: Path, probe_fn=probe, run=None) -> tuple[pd.DataFrame, ClipStore, ClipStore]:
    manifest = build_manifest("mine", DATASET, root, probe_fn, 2, 1.0, log_line=lambda text: None)
    run = run or in_turn
    prepare_faces(manifest, root, out / "faces", out / "cache/faces", FACES, "single", PREPARATION, run=run)
    prepare_audio(manifest, root, out / "audio", out / "cache/audio", PREPARATION, run=run)
    return manifest, ClipStore(out / "faces"), ClipStore(out / "audio")


def in_turn(work, clips):
    return (run_clip(work, clip) for clip in clips)


def listing(folder: Path) -> dict[str, int]:
    """Every file below a folder, with its time."""
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}


def test_bad_clips_cost_a_stage_nothing_but_themselves(raw, tmp_path):
    clips = clips_of(raw)
    before = listing(raw.parent)
    write_table(raw, clips[: len(GOOD)])
    _, faces_alone, audio_alone = prepare(raw, tmp_path / "alone")
    assert set(faces_alone.clip_ids) == set(audio_alone.clip_ids) == set(GOOD)
    write_table(raw, clips)
    manifest, faces, audio = prepare(raw, tmp_path / "together", run=in_processes(1, 60))
    _, blindly, blindly_heard = prepare(raw, tmp_path / "blindly", probe_fn=None)
    for alone, stores in ((faces_alone, (faces, blindly)), (audio_alone, (audio, blindly_heard))):
        for store in stores:
            for clip_id in GOOD:
                one, other = alone[clip_id], store[clip_id]
                assert one["digest"] == other["digest"] != ""
                payload = "frames" if "frames" in one else "fbank"
                assert one[payload].equals(other[payload])
    bad = dict(clips[len(GOOD) :])
    rows = manifest.set_index("clip_id")
    for clip_id in bad:
        seen = [rows.loc[clip_id]]
        for store in (faces, audio, blindly, blindly_heard):
            seen += [row for _, row in store.index.iterrows() if row["clip_id"] == clip_id]
        told = [row for row in seen if row["status"] != "ok"]
        assert told, clip_id
        assert all(row["reason"] for row in told), clip_id
        assert clip_id not in set(faces.clip_ids) & set(audio.clip_ids)
    assert {path for path in listing(raw.parent) if path not in before} == {str(raw / "manifest.csv")}


def test_a_clip_that_may_not_be_read(raw, tmp_path_factory):
    folder = Path(os.path.realpath(tmp_path_factory.getbasetemp()))
    parents = [folder, *list(folder.parents)[:-2]]
    modes = {path: path.stat().st_mode for path in parents}
    root = folder / "secret"
    root.mkdir()
    write_table(root, [("good", "good.mp4"), ("secret", "secret.mp4"), ("hidden", "hidden/clip.mp4")])
    (root / "hidden").mkdir()
    for name in ("good.mp4", "secret.mp4", "hidden/clip.mp4"):
        (root / name).write_bytes((raw / "good0.mp4").read_bytes())
    for path in (root / "secret.mp4", root / "hidden"):
        path.chmod(0)

    def unprivileged(work, clips):
        for clip in clips:
            with without_privileges():
                result = run_clip(work, clip)
            yield result

    try:
        for path in parents:
            path.chmod(0o755)
        with without_privileges():
            manifest = build_manifest("mine", DATASET, root, probe, 2, 1.0, log_line=print).set_index("clip_id")
        assert manifest["status"].to_dict() == {"good": "ok", "secret": "unreadable", "hidden": "unreadable"}
        assert manifest.loc[["secret", "hidden"], "reason"].str.contains("Permission denied").all()
        _, faces, audio = prepare(root, folder / "out", probe_fn=None, run=unprivileged)
        for store in (faces, audio):
            index = store.index.set_index("clip_id")
            assert index["status"].to_dict() == {"good": "ok", "secret": "unreadable", "hidden": "unreadable"}
            assert index.loc["secret", "reason"].endswith("Permission denied")
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
        (root / "hidden").chmod(0o700)


ODD_IDS = (
    "../../escaped",
    "/tmp/escaped",
    "a/b/c",
    "..",
    ".",
    "~",
    "x" * 900,
    "=cmd|'/c calc'!A1",
    "a#1",
    "CON",
    '"',
)


def test_clip_ids_are_never_file_names(raw, tmp_path):
    root = tmp_path / "place" / "raw"
    root.mkdir(parents=True)
    (root / "good.mp4").symlink_to(raw / "good0.mp4")
    (root / "bad.mp4").write_text("bad")
    write_table(root, [*((clip_id, "good.mp4") for clip_id in ODD_IDS), ("../../bad", "bad.mp4")])
    before = listing(tmp_path)
    _, faces, audio = prepare(root, tmp_path / "place" / "out", probe_fn=None)
    assert set(faces.clip_ids) == set(audio.clip_ids) == set(ODD_IDS)
    new = [path for path in listing(tmp_path) if path not in before]
    assert new
    assert all(path.startswith(str(tmp_path / "place" / "out")) for path in new)
    assert not Path("/tmp/escaped").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"clip_id,video\na,../outside.mp4\n", "outside this folder"),
        (b"clip_id,video\na,/etc/passwd\n", "outside this folder"),
        (b"clip_id,video\na,b/../../outside.mp4\n", "outside this folder"),
        (b"clip_id,video\na,good.mp4\na,good.mp4\n", "not unique"),
        (b"clip_id,video\na,good.mp4\n,good.mp4\n", "lack an id"),
        (b"clip_id,video\na,good.mp4\n ,good.mp4\n", "lack an id"),
        (b"clip_id,video\na,\n", "lack an id or file"),
        (b'clip_id,video\n"a\nb",good.mp4\n', "control characters"),
        (b"clip_id,video\n" + b"a" * 5_000_000 + b",good.mp4\n", "line 2: .*larger than field limit"),
        (b"clip_id,video\n" + b"a" * 100_000 + b",good.mp4\n", "more than 1000"),
        (b"clip_id,film\na,good.mp4\n", "no column video"),
        (b"clip_id,video\na,good.mp4,x,y\nb,good.mp4\n", "line 2: has 4 cells"),
        (b"clip_id,video\nx,a,good.mp4\ny,b,good.mp4\n", "line 2: has 3 cells"),
        ("clip_id,video\nä,good.mp4\n".encode("latin-1"), "UTF-8"),
        ("clip_id,video\na,good.mp4\n".encode("utf-16"), "UTF-8"),
        (b'clip_id,video\n"a,good.mp4\n', "manifest.csv"),
        (b"clip_id,video\n", "no rows"),
        (b"\0\0\0\0", "manifest.csv"),
        (b"", "manifest.csv"),
    ],
)
def test_a_malicious_or_broken_table_is_refused_in_a_sentence(raw, tmp_path, content, words):
    root = tmp_path / "raw"
    root.mkdir()
    (root / "good.mp4").symlink_to(raw / "good0.mp4")
    (tmp_path / "outside.mp4").symlink_to(raw / "good0.mp4")
    (root / "manifest.csv").write_bytes(content)
    before = listing(tmp_path)
    with pytest.raises(ValueError, match=words) as raised:
        build_manifest("mine", DATASET, root, probe, 2, 1.0)
    assert len(str(raised.value)) < 2000
    assert listing(tmp_path) == before


def test_a_byte_order_mark_and_odd_file_names_are_taken(raw, tmp_path):
    names = ["ünïcödé 映画.mp4", "two\nlines.mp4", 'it\'s "quoted".mp4', "=1+1.mp4", "a,b.mp4"]
    for name in names:
        (tmp_path / name).symlink_to(raw / "good0.mp4")
    write_table(tmp_path, [(f"clip{number}", name) for number, name in enumerate(names)])
    content = (tmp_path / "manifest.csv").read_bytes()
    (tmp_path / "manifest.csv").write_bytes(b"\xef\xbb\xbf" + content)
    manifest = build_manifest("mine", DATASET, tmp_path, probe, 2, 0.0)
    assert manifest["video_path"].tolist() == names
    assert (manifest["status"] == "ok").all()
