"""Javanese: 240 clips of 10 actors, a fold each, in the clone or its folder of clips."""

import pytest

from hicmae_core.data.building import build_manifest
from hicmae_core.data.corpora.ready_made import READY_MADE
from tests.data import trees


def built(root, **changes):
    dataset = READY_MADE["javanese"].params.model_copy(update=changes)
    told = []
    return build_manifest("javanese", dataset, root, None, 2, 0.1, told.append), told


@pytest.mark.parametrize("folder", ["dataset-resize/", ""])
def test_it_has_240_clips(tmp_path, folder):
    tree = trees.javanese(trees.Tree(tmp_path / "raw", tmp_path), folder).media(["output/01-01-01_01.mp4"])
    manifest, told = built(tree.root)
    assert told == []
    assert len(manifest) == 240
    assert set(manifest["status"]) == {"ok"}
    assert manifest.groupby(["test_fold", "subject"]).size().tolist() == [24] * 10
    assert manifest.groupby("label").size().tolist() == [40] * 6
    row = manifest.set_index("clip_id").loc["10-04-06_01"]
    assert row[["subject", "label_name", "test_fold"]].tolist() == ["10", "anger", 10]
    assert row["video_path"] == row["audio_path"] == f"{folder}10-04-06_01.mp4"


def test_half_the_clips_are_refused_unless_asked_for(tmp_path):
    tree = trees.Tree(tmp_path / "raw", tmp_path).media(f"{name}.mp4" for name in trees.javanese_names()[::2])
    with pytest.raises(ValueError, match="published"):
        built(tree.root)
    manifest, told = built(tree.root, allow_incomplete=True)
    assert len(manifest) == 120
    assert told


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["actor_1/clip.mp4"], "no file is named as a clip, such as dataset-resize/01-04-06_01.mp4; give the clone of"),
        (["dataset/01-01-01_07.wav", "03-01-01_01.wav"], "2 sounds, no video: this is the companion corpus"),
        (["a/01-01-01_01.mp4", "b/01-01-01_01.mp4"], "are one clip by name; remove one of them"),
    ],
)
def test_a_wrong_folder_is_told_in_a_sentence(tmp_path, names, message):
    tree = trees.Tree(tmp_path / "raw", tmp_path).media(names)
    with pytest.raises(ValueError, match=message):
        built(tree.root, allow_incomplete=True)
