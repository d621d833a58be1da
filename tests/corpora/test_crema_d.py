"""CREMA-D under its 7,442 real names."""

import pytest

from hicmae_core.corpora.crema_d import KNOWN_BROKEN
from hicmae_core.corpora.registry import READY_MADE
from hicmae_core.preparation.building import build_manifest
from tests.corpora import trees


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """All of the corpus."""
    folder = tmp_path_factory.mktemp("crema_d")
    return trees.crema_d(trees.Tree(folder / "raw", folder)).root


def built(root, name="crema_d", allow_incomplete=False):
    """The manifest, and what was told."""
    told = []
    dataset = READY_MADE[name].params.model_copy(update={"allow_incomplete": allow_incomplete})
    return build_manifest(name, dataset, root, None, 1, 0.1, told.append), "\n".join(told)


def test_all_of_it_has_the_published_counts(full):
    manifest, told = built(full)
    assert told == ""
    assert len(manifest) == 7442
    broken = manifest[manifest["status"] != "ok"]
    assert set(broken["clip_id"]) == set(KNOWN_BROKEN)
    assert set(broken["status"]) == {"known_broken"}
    assert (broken["reason"] != "").all()
    usable = manifest[manifest["status"] == "ok"]
    assert usable.groupby("test_fold").size().tolist() == [1463, 1470, 1476, 1474, 1555]
    row = manifest.set_index("clip_id").loc["1001_DFA_ANG_XX"]
    assert row[["subject", "label", "label_name", "test_fold"]].tolist() == ["1001", 0, "anger", 1]
    assert row[["video_path", "audio_path"]].tolist() == [
        "VideoFlash/1001_DFA_ANG_XX.flv",
        "AudioWAV/1001_DFA_ANG_XX.wav",
    ]
    assert manifest.groupby("subject")["test_fold"].nunique().max() == 1
    assert manifest.groupby("test_fold")["subject"].agg(["min", "max"]).to_numpy().tolist() == [
        ["1001", "1018"],
        ["1019", "1036"],
        ["1037", "1054"],
        ["1055", "1072"],
        ["1073", "1091"],
    ]


def test_without_the_clip_that_the_published_lists_leave_out_it_is_complete_too(tmp_path):
    tree = trees.Tree(tmp_path / "raw", tmp_path)
    names = [name for name in trees.CREMA_D_NAMES if name not in ("1040_ITH_SAD_XX", *KNOWN_BROKEN)]
    manifest, told = built(tree.media(f"VideoFlash/{name}.flv" for name in names).root)
    assert (len(manifest), told) == (7437, "")
    assert (manifest["audio_path"] == manifest["video_path"]).all()


def test_four_classes_leave_the_others_out_and_say_so(full):
    manifest, told = built(full, "crema_d_4")
    assert told == "left out: 2542 clips of classes that are not among `classes` (1271 disgust, 1271 fear)"
    assert sorted(set(manifest["label_name"])) == ["anger", "happiness", "neutral", "sadness"]
    assert manifest.set_index("clip_id")["label"]["1001_DFA_SAD_XX"] == 3
    assert (manifest["status"] == "ok").sum() == 4897


def test_a_part_of_it_is_refused_with_a_table_unless_wanted(tmp_path):
    names = [name for name in trees.CREMA_D_NAMES if not name.startswith(("1001", "1019"))]
    root = trees.crema_d(trees.Tree(tmp_path / "raw", tmp_path), names).root
    told = []
    with pytest.raises(
        ValueError, match=r"12 counts differ .*--allow-incomplete, or dataset\.crema_d\.allow_incomplete"
    ):
        build_manifest("crema_d", READY_MADE["crema_d"].params, root, None, 1, 0.1, told.append)
    assert "2      fear       251    238" in told[0]
    manifest, told = built(root, allow_incomplete=True)
    assert "differ from the published counts" in told
    assert len(manifest) == len(names)


def test_missing_videos_are_rows_that_count_as_no_rejects_where_wanted(tmp_path):
    tree = trees.crema_d(trees.Tree(tmp_path / "raw", tmp_path), trees.CREMA_D_NAMES[:200])
    tree.media(f"AudioWAV/{name}.wav" for name in trees.CREMA_D_NAMES[1000:1100])
    manifest, _ = built(tree.root, allow_incomplete=True)
    assert manifest["status"].value_counts().to_dict() == {"ok": 200, "missing": 100}
    assert manifest["reason"].iloc[-1] == f"VideoFlash/{manifest['clip_id'].iloc[-1]}.flv: no such file"


def test_perceived_labels_are_the_raters_votes(tmp_path):
    names = ["1001_DFA_ANG_XX", "1001_DFA_DIS_XX", "1002_DFA_SAD_XX", "1019_DFA_HAP_XX", "1019_DFA_FEA_XX"]
    votes = ["S", "A:D", "N", "H", "F"]
    rows = [f"{i},{name},A,75,A:D,60:70,{vote},60" for i, (name, vote) in enumerate(zip(names, votes, strict=True), 1)]
    head = ',"FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote","MultiModalLevel"'
    tree = trees.crema_d(trees.Tree(tmp_path / "raw", tmp_path), [*names, "1020_DFA_FEA_XX"])
    tree.text("processedResults/summaryTable.csv", head, *rows)
    params = READY_MADE["crema_d_perceived"].params.model_copy(update={"allow_incomplete": True})
    manifest = build_manifest("p", params, tree.root, None, 1, 0.5, lambda text: None).set_index("clip_id")
    assert manifest["status"].to_dict() == {
        "1001_DFA_ANG_XX": "ok",
        "1001_DFA_DIS_XX": "tied_label",
        "1002_DFA_SAD_XX": "ok",
        "1019_DFA_FEA_XX": "ok",
        "1019_DFA_HAP_XX": "ok",
        "1020_DFA_FEA_XX": "unknown_label",
    }
    assert manifest["label_name"]["1001_DFA_ANG_XX"] == "sadness"
    assert manifest["label"]["1002_DFA_SAD_XX"] == 4
    with pytest.raises(ValueError, match="corpus crema_d has no labels `felt`; there are: intended, perceived"):
        build_manifest("p", params.model_copy(update={"labels": "felt"}), tree.root, None, 1, 0.5)
    tree.text("processedResults/summaryTable.csv", head, *rows[:2], rows[2].replace(",N,", ",Q,"))
    with pytest.raises(ValueError, match=r"summaryTable\.csv, line 4: 'Q' is not among A, D, F, H, N, S"):
        build_manifest("p", params, tree.root, None, 1, 0.5)
    (tree.root / "processedResults/summaryTable.csv").unlink()
    with pytest.raises(ValueError, match=r"there is no summaryTable\.csv; labels `perceived` need it"):
        build_manifest("p", params, tree.root, None, 1, 0.5)


def test_speakers_have_the_sex_that_the_corpus_s_table_gives_them(tmp_path):
    tree = trees.crema_d(trees.Tree(tmp_path / "raw", tmp_path), ["1001_DFA_ANG_XX", "1002_DFA_SAD_XX"])
    params = READY_MADE["crema_d"].params.model_copy(update={"allow_incomplete": True})
    assert build_manifest("c", params, tree.root, None, 1, 0.5, lambda text: None)["group"].isna().all()
    tree.text("VideoDemographics.csv", "ActorID,Age,Sex,Race,Ethnicity", "1001,51,Male,Caucasian,Not Hispanic")
    again = build_manifest("c", params, tree.root, None, 1, 0.5, lambda text: None)
    assert again.set_index("subject")["group"].fillna("").to_dict() == {"1001": "male", "1002": ""}
