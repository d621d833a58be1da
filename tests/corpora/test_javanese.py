"""Javanese: 240 clips of 10 actors, a fold each, in the clone or its folder of clips."""

import pytest

from hicmae_core.corpora.registry import READY_MADE
from hicmae_core.preparation.building import build_manifest
from tests.corpora import trees


def built(root, **changes):
    dataset = READY_MADE["javanese"].params.model_copy(update=changes)
    notes = []
    return build_manifest("javanese", dataset, root, None, 2, 0.1, notes.append), notes


@pytest.mark.parametrize("folder", ["dataset-resize/", ""])
def test_it_has_240_clips(tmp_path, folder):
    tree = trees.javanese(trees.Tree(tmp_path / "raw", tmp_path), folder)
    manifest, notes = built(tree.root)
    assert notes == []
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
    manifest, notes = built(tree.root, allow_incomplete=True)
    assert len(manifest) == 120
    assert notes


def test_what_else_the_clone_has_is_passed_over(tmp_path):
    """Other commits have the clips in archives by actor; the companion's takes have the clips' names."""
    tree = trees.javanese(trees.Tree(tmp_path / "raw", tmp_path))
    tree.media(["code/output/01-01-02_01_output.mp4", "dataset/01-01-01_01.mp4", "dataset/01-01-01_01.wav"])
    tree.text("dataset/person-01.zip", "PK").text("code/data.csv", "video,emotion")
    manifest, notes = built(tree.root)
    assert notes == []
    assert manifest["video_path"].str.startswith("dataset-resize/").all()
    assert (manifest["audio_path"] == manifest["video_path"]).all()


COMPANION = r"24 audio files and no video of a clip, as in the companion corpus of audio alone; give the clone of http"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["actor_1/clip.mp4"],
            r"no video is named as a clip, such as .*`git checkout 70503133` in it\), or its folder",
        ),
        (
            ["dataset/person-01.txt"],
            "no video is named as a clip, such as dataset-resize/01-04-06_01.mp4; give the clo",
        ),
        ([f"dataset/{name[:-2]}07.wav" for name in trees.javanese_names()[:24]], COMPANION),
        ([f"suara/aktor {number}.wav" for number in range(24)], COMPANION),
        (["a/01-01-01_01.mp4", "b/01-01-01_01.mp4"], "are one clip by name; remove one of them"),
    ],
)
def test_a_wrong_folder_is_told_in_a_sentence(tmp_path, names, message):
    tree = trees.Tree(tmp_path / "raw", tmp_path)
    tree = tree.text(*names, "") if names[0].endswith(".txt") else tree.media(names)
    with pytest.raises(ValueError, match=message):
        built(tree.root, allow_incomplete=True)
