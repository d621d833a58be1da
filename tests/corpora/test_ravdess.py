"""RAVDESS: 1,440 spoken clips, however the takes are there."""

import pytest

from hicmae_core.config import PreparationParams, parse_params
from hicmae_core.corpora.registry import READY_MADE
from hicmae_core.media.decoding import probe
from hicmae_core.preparation.building import build_manifest
from hicmae_core.preparation.preparing import prepare_faces
from tests.corpora import trees

WHOLE, SILENT, SOUND = (0, 1, 2)
SONGS = [take for take in trees.ravdess_takes("02") if take[3:5] <= "06"][:400]


def files(parts, takes):
    """Names of takes as files with both (01), videos without audio (02) and sounds (03), in the release's folders."""
    kinds = (
        ("Video_Speech_Actor", "01", "mp4"),
        ("Video_Speech_Actor", "02", "mp4"),
        ("Audio_Speech_Actors", "03", "wav"),
    )
    for part in parts:
        folder, modality, ending = kinds[part]
        for take in takes:
            actor = take[-2:]
            yield f"{folder}_{'01-24' if part == SOUND else actor}/Actor_{actor}/{modality}-{take}.{ending}"


def built(root, probe_fn=None, **changes):
    dataset = READY_MADE["ravdess"].params.model_copy(update=changes)
    told = []
    return build_manifest("ravdess", dataset, root, probe_fn, 2, 0.1, told.append), told


@pytest.mark.parametrize("parts", [(WHOLE,), (SILENT, SOUND), (WHOLE, SILENT, SOUND)])
def test_it_has_1440_clips(tmp_path, parts):
    tree = trees.Tree(tmp_path / "raw", tmp_path).media(files(parts, trees.ravdess_takes() + SONGS))
    manifest, told = built(tree.root)
    assert told == []
    assert len(manifest) == 1440
    assert set(manifest["status"]) == {"ok"}
    assert manifest.groupby("test_fold").size().tolist() == [240] * 6
    assert manifest.groupby("label").size().tolist() == [96] + [192] * 7
    row = manifest[manifest["clip_id"].str.endswith("01-03-02-01-02-05")].iloc[0]
    assert row[["subject", "group", "label_name", "test_fold"]].tolist() == ["05", "male", "happy", 2]
    assert manifest.groupby("group")["subject"].nunique().to_dict() == {"female": 12, "male": 12}
    modality, ending = ("01", "01-01-03-02-01-02-05.mp4") if WHOLE in parts else ("02", "03-01-03-02-01-02-05.wav")
    assert row["clip_id"] == f"{modality}-01-03-02-01-02-05"
    assert row["audio_path"].endswith(ending)
    assert row["video_path"].endswith(f"{row['clip_id']}.mp4")


def test_pairs_are_probed_as_one_clip(tmp_path):
    takes = [take for take in trees.ravdess_takes() if take.endswith(("-01-01-01", "-01-01-05"))]
    tree = trees.Tree(tmp_path / "raw", tmp_path).media(files((SILENT, SOUND), takes))
    manifest, _ = built(tree.root, probe, allow_incomplete=True)
    assert set(manifest["status"]) == {"ok"}
    assert manifest["fps"].eq(8).all()
    assert manifest["sha256"].nunique() == manifest["audio_sha256"].nunique() == 1
    assert manifest["sha256"][0] != manifest["audio_sha256"][0]


def test_a_take_without_sound_or_picture_is_missing(tmp_path):
    takes = trees.ravdess_takes()
    tree = trees.Tree(tmp_path / "raw", tmp_path)
    tree.media(files((WHOLE,), takes[2:])).media(files((SILENT,), takes[:1])).media(files((SOUND,), takes[1:2]))
    manifest, told = built(tree.root, allow_incomplete=True)
    missing = manifest[manifest["status"] == "missing"]
    assert missing["reason"].tolist() == [
        "Actor_01/03-01-01-01-01-01-01.wav: no such file",
        "Actor_01/02-01-01-01-01-02-01.mp4: no such file",
    ]
    assert "neutral        16     14" in told[0]


def test_drawn_faces_need_no_detector_and_other_datasets_keep_theirs(tmp_path):
    tree = trees.Tree(tmp_path / "raw", tmp_path).media(files((WHOLE,), trees.ravdess_takes()[:2]))
    names = ("javanese", "ravdess_drawn")
    values = {name: READY_MADE[name].params.model_dump() | {"allow_incomplete": True} for name in names}
    params = parse_params({"folds": {}, "dataset": values, "pretrain": {"dataset": "javanese"}}, "test")
    manifest = build_manifest("ravdess_drawn", params.dataset["ravdess_drawn"], tree.root, probe, 2, 0.1, list)
    settings, found = PreparationParams(max_reject_fraction=1), {}
    for name in names:
        places = tree.root, tmp_path / name, tmp_path / f"cache-{name}"
        summary = prepare_faces(manifest, *places, params.faces_of(name), "single", settings, num_processes=1)
        found[name] = summary.get("ok", 0), summary.get("no_face", 0)
    assert found == {"javanese": (0, 2), "ravdess_drawn": (2, 0)}
