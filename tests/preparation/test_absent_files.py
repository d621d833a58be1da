"""Files that are not there, or stand in for those that should be, and files that are passed over."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.registry import READY_MADE
from hicmae_core.media.cropping import encode_jpeg
from hicmae_core.media.decoding import probe
from hicmae_core.preparation.building import build_manifest
from tests.media.films import background, tone, write_film

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:9269ed5eb1710836\nsize 414429\n"
PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head>" + b" " * 20_000
STAND_INS = [
    (LFS, "is a Git LFS pointer, not the file itself: run `git lfs pull`"),
    (b"/annex/objects/SHA256E-s414429--92.mp4\n", "is a git-annex pointer, not the file itself: run `git annex get`"),
    (b"outs:\n- md5: 92\n  size: 414429\n  hash: md5\n  path: a.mp4\n", "is a DVC pointer, not the file itself"),
    (b"md5: 92\nfrozen: true\nouts:\n- md5: 92\n  path: a.mp4\n", "is a DVC pointer, not the file itself"),
    (PAGE, "is a web page, as a server sends in place of a file"),
    (b"\xef\xbb\xbf\n <HTML>", "is a web page"),
    (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "is a web page"),
]
UNLABELLED = DatasetParams(corpus="csv", task="unlabelled")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_film(tmp_path_factory.mktemp("clip") / "clip.mp4", [background()] * 5, tone(0.2)).read_bytes()


def listed(root: Path, *videos: str, audio: str | None = None) -> Path:
    rows = [{"clip_id": video, "video": video, **({"audio": audio} if audio else {})} for video in videos]
    pd.DataFrame(rows).to_csv(root / "manifest.csv", index=False)
    return root


def reasons(root: Path, with_probe: bool) -> list[tuple[str, str]]:
    manifest = build_manifest("mine", UNLABELLED, root, probe if with_probe else None, 1, 1.0)
    return list(zip(manifest["status"], manifest["reason"], strict=True))


@pytest.mark.parametrize("with_probe", [False, True])
@pytest.mark.parametrize(("content", "reason"), STAND_INS)
def test_a_file_that_stands_in_for_another_says_so(
    tmp_path: Path, clip: bytes, content: bytes, reason: str, with_probe: bool
) -> None:
    (tmp_path / "a.flv").write_bytes(content)
    (tmp_path / "b.mp4").write_bytes(clip)
    (first, second) = reasons(listed(tmp_path, "a.flv", "b.mp4"), with_probe)
    assert first[0] == "missing"
    assert first[1].startswith(f"a.flv: {reason}")
    assert second == ("ok", "")


def test_an_audio_file_may_be_a_pointer_too(tmp_path: Path, clip: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(clip)
    (tmp_path / "a.wav").write_bytes(LFS)
    assert reasons(listed(tmp_path, "a.mp4", audio="a.wav"), with_probe=False) == [
        ("missing", "a.wav: is a Git LFS pointer, not the file itself: run `git lfs pull`")
    ]


@pytest.mark.parametrize("with_probe", [False, True])
@pytest.mark.parametrize(("pointers", "status"), [(range(10), "missing"), (range(1), "ok")])
def test_face_frames_may_be_pointers_too(tmp_path: Path, clip: bytes, pointers: range, status: str, with_probe: bool):
    (tmp_path / "a").mkdir()
    for number in range(10):
        content = LFS if number in pointers else encode_jpeg(np.zeros((8, 8, 3), np.uint8), 90)
        (tmp_path / f"a/{number}.jpg").write_bytes(content)
    (tmp_path / "a.mp4").write_bytes(clip)
    ((found, reason),) = reasons(listed(tmp_path, "a", audio="a.mp4"), with_probe)
    assert found == status
    damaged = "a: 10 of 10 images are damaged, such as 0.jpg, which is a Git LFS pointer, not the file itself: run"
    assert status == "ok" or reason == f"{damaged} `git lfs pull`"


def test_what_lies_beside_an_absent_file_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "a.mp4.dvc").write_text("outs:\n")
    (tmp_path / "b.mp4.crdownload").write_bytes(b"half")
    (tmp_path / "c.mp4").symlink_to(".git/annex/objects/x1/SHA256E-s9--92.mp4/SHA256E-s9--92.mp4")
    found = reasons(listed(tmp_path, "a.mp4", "b.mp4", "c.mp4", "d.mp4"), with_probe=False)
    assert [reason for _, reason in found] == [
        "a.mp4: no such file, but a.mp4.dvc is there: run `dvc pull`",
        "b.mp4: no such file, but b.mp4.crdownload is there: its download did not finish",
        "c.mp4: is a git-annex link whose content is not here: run `git annex get`",
        "d.mp4: no such file",
    ]
    assert {status for status, _ in found} == {"missing"}


@pytest.mark.parametrize("name", ["iemocap", "mafw", "dfew", "mer2023", "werewolf_xl", "avcaffe", "msp_improv"])
def test_label_files_that_are_pointers_are_named(tmp_path: Path, name: str) -> None:
    files = {
        "iemocap": "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt",
        "mafw": "single/no_caption/set_1/train.txt",
        "dfew": "train(single-labeled)/set_1.csv",
        "mer2023": "train-label.csv",
        "werewolf_xl": "labels.csv",
        "avcaffe": "ground_truths/arousal.txt",
        "msp_improv": "Evalution.txt",
    }
    path = tmp_path / files[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(LFS)
    with pytest.raises(
        ValueError, match=rf"{path.name}: is a Git LFS pointer, not the file itself: run `git lfs pull`"
    ):
        build_manifest(name, READY_MADE[name].params, tmp_path, None, 1, 1.0)


@pytest.mark.parametrize(
    ("name", "taken", "passed_over"),
    [
        ("crema_d", "1001_DFA_ANG_XX.m2ts", "1001_DFA_HAP_XX.rm"),
        ("ravdess", "Actor_01/01-01-01-01-01-01-01.asf", "Actor_01/01-01-02-01-01-01-01.rm"),
        ("voxceleb2", "id00012/a/00001.mkv", "id00012/a/00002.rm"),
    ],
)
def test_a_file_named_as_a_clip_is_taken_or_told(tmp_path: Path, name: str, taken: str, passed_over: str) -> None:
    for path in (tmp_path / taken, tmp_path / passed_over, tmp_path / "notes.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not empty")
    dataset = READY_MADE[name].params.model_copy(update={"allow_incomplete": True})
    told: list[str] = []
    manifest = build_manifest(name, dataset, tmp_path, None, 1, 1.0, told.append)
    assert manifest["video_path"].tolist() == [taken]
    note = f"passed over 1 file (1 .rm) named as clips, such as {passed_over}"
    assert [line for line in told if "passed over" in line] == [f"{name}: {note}: not the extension of what is read"]


def test_an_evaluation_file_without_utterances_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "Session1/dialog/EmoEvaluation"
    folder.mkdir(parents=True)
    (folder / "Ses01F_impro01.txt").write_text("[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5, 2.5, 2.5]\n")
    (folder / "Ses01F_impro02.txt").write_text("% a file that was cut off\n")
    with pytest.raises(ValueError, match=r"Ses01F_impro02\.txt: has no line such as"):
        build_manifest("iemocap", READY_MADE["iemocap"].params, tmp_path, None, 1, 1.0)
