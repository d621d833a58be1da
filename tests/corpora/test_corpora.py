"""Each corpus under its real names, with its label files; damage and mistakes are named."""

import os
import re
import subprocess
import sys
from collections import Counter

import pandas as pd
import pytest
import yaml

from hicmae_core.config import DatasetParams
from hicmae_core.corpora.catalogue import catalogue
from hicmae_core.corpora.listing import Folder, by_key
from hicmae_core.corpora.mafw import COMPOUND, SINGLE
from hicmae_core.corpora.published import differences, in_all, per_class, per_fold
from hicmae_core.corpora.registry import CORPORA, READY_MADE, dataset_named, published_counts, published_results
from hicmae_core.media.decoding import probe
from hicmae_core.preparation.building import build_manifest
from hicmae_core.store.manifest import MANIFEST_COLUMNS
from tests.conftest import ROOT
from tests.corpora import trees

TREES = {
    "msp_improv": trees.msp_improv,
    "iemocap": trees.iemocap,
    "mafw": lambda tree: trees.mafw(tree, SINGLE),
    "mafw_43": lambda tree: trees.mafw(tree, SINGLE + COMPOUND, "compound"),
    "dfew": trees.dfew,
    "mer2023": trees.mer2023,
    "werewolf_xl": trees.werewolf_xl,
    "avcaffe": trees.avcaffe,
    "avcaffe_arousal": trees.avcaffe,
    "avcaffe_valence": trees.avcaffe,
    "voxceleb2": trees.voxceleb2,
}
EXPECTED = {
    # rows; a clip with its columns
    "msp_improv": (
        48,
        "MSP-IMPROV-S01A-F01-P-FM01",
        {
            "subject": "F01",
            "label": 0,
            "label_name": "anger",
            "test_fold": 1,
            "audio_path": "Audio/session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav",
        },
    ),
    "iemocap": (
        25,
        "Ses02F_impro01_F002",
        {"subject": "Ses02_F", "label": 1, "label_name": "happy", "test_fold": 2},
    ),
    "mafw": (55, "01003", {"label": 1, "label_name": "disgust", "test_fold": 3, "video_path": "data/clips/01003.mp4"}),
    "mafw_43": (215, "11001", {"label": 11, "label_name": "anger_anxiety", "test_fold": 1}),
    "dfew": (35, "12", {"label": 1, "label_name": "sad", "test_fold": 2, "video_path": "Clip/original/12.mp4"}),
    "mer2023": (12, "sample_00000104", {"label": 4, "label_name": "worried", "test_fold": 1}),
    "werewolf_xl": (
        20,
        "28_02_130",
        {"subject": "28_02", "test_fold": 5, "target_arousal": 1.0, "target_valence": -0.25, "target_dominance": 0.5},
    ),
    "avcaffe": (
        20,
        "aiim001_task_2_1",
        {"subject": "aiim001", "unit": "aiim001_task_2", "test_fold": 1, "target_arousal": 1, "target_valence": 3},
    ),
    "avcaffe_arousal": (
        20,
        "aiim001_task_2_1",
        {"subject": "aiim001", "unit": "aiim001_task_2", "test_fold": 1, "label": 1, "label_name": "high"},
    ),
    "avcaffe_valence": (
        20,
        "aiim001_task_2_1",
        {"subject": "aiim001", "unit": "aiim001_task_2", "test_fold": 1, "label": 3, "label_name": "low"},
    ),
    "voxceleb2": (
        4,
        "id00012/21Uxsk56VDQ/00001",
        {"subject": "id00012", "audio_path": "dev/aac/id00012/21Uxsk56VDQ/00001.m4a"},
    ),
}


def grown(name, tmp_path):
    return TREES[name](trees.Tree(tmp_path / "raw", tmp_path))


def built(name, root, probe_fn=None, **changes):
    dataset = READY_MADE[name].params.model_copy(update={"allow_incomplete": True, **changes})
    return build_manifest(name, dataset, root, probe_fn, 2, 0.1, lambda text: None)


@pytest.mark.parametrize("name", TREES)
def test_a_corpus_is_read(tmp_path, name):
    manifest = built(name, grown(name, tmp_path).root, probe)
    count, clip_id, expected = EXPECTED[name]
    assert len(manifest) == count
    assert set(manifest["status"]) == {"ok"}
    row = manifest.set_index("clip_id").loc[clip_id]
    assert {key: row[key] for key in expected} == expected
    dataset = READY_MADE[name].params
    assert list(manifest.columns) == [*MANIFEST_COLUMNS, *(f"target_{target}" for target in dataset.targets)]
    assert manifest["sha256"].notna().all()
    assert manifest["audio_sha256"].notna().all()
    assert set(manifest["test_fold"].dropna()) <= set(range(1, dataset.num_folds + 1))
    for target in dataset.targets:
        assert manifest[f"target_{target}"].dtype == ("Int64" if dataset.classes else "float64")


@pytest.mark.parametrize("name", [name for name in TREES if name not in ("voxceleb2", "mer2023")])
def test_a_part_of_a_corpus_is_refused_unless_wanted(tmp_path, name):
    root = grown(name, tmp_path).root
    with pytest.raises(ValueError, match=rf"counts differ from the published.*dataset\.{name}\.allow_incomplete: true"):
        built(name, root, allow_incomplete=False)


@pytest.mark.parametrize(
    ("name", "file", "line", "text", "message"),
    [
        ("msp_improv", "Evalution.txt", 4, "UTD-IMPROV-S01A-F01; A", "expected such as `UTD-IMPROV-S01A-F01-P-FM01"),
        ("msp_improv", "Evalution.txt", 1, "UTD-IMPROV-S01A-F01-P-FM01.avi; Q;", "'Q' is not among A, H, N, S, O, X"),
        (
            "iemocap",
            "Session2/dialog/EmoEvaluation/Ses02F_impro01.txt",
            3,
            "[1.2 - 1.9]\tSes02F_impro01_F000\t[2, 2, 2]",
            "expected such as",
        ),
        (
            "mafw",
            "Train & Test Set/single/no_caption/set_2/train.txt",
            7,
            "00025.mp4",
            "expected such as `00025.mp4 anger`",
        ),
        (
            "mafw",
            "Train & Test Set/single/no_caption/set_2/test.txt",
            1,
            "00002.mp4 angry",
            "'angry' is not among anger,",
        ),
        ("mafw", "Train & Test Set/single/no_caption/set_2/test.txt", 1, "00002.mp4 fear", "00002 is fear, but anger"),
        (
            "mafw",
            "Train & Test Set/single/no_caption/set_2/test.txt",
            1,
            "00001.mp4 anger",
            "00001 is listed twice in fold 2",
        ),
        (
            "dfew",
            "EmoLabel_DataSplit/test(single-labeled)/set_3.csv",
            4,
            "18,8",
            "'8' is not among 1, 2, 3, 4, 5, 6, 7",
        ),
        ("dfew", "EmoLabel_DataSplit/test(single-labeled)/set_3.csv", 4, "18", "has 1 cells, but the header has 2"),
        (
            "dfew",
            "EmoLabel_DataSplit/test(single-labeled)/set_3.csv",
            4,
            "18,1,2,3",
            "has 4 cells, but the header has 2",
        ),
        ("mer2023", "test1-label.csv", 3, "sample_00000101,furious,0", "'furious' is not among neutral, angry"),
        ("werewolf_xl", "labels.csv", 5, "04_02_130,1.0,?,0.5", r"valence '\?' is not a number"),
        ("werewolf_xl", "labels.csv", 5, "31_02_130,1.0,0,0.5", "a clip is named such as 01_01_128, not '31_02_130'"),
        (
            "avcaffe",
            "ground_truths/valence.txt",
            2,
            "aiim001_task_2; Calm",
            "expected such as `aiim001_task_1, Pleasant`",
        ),
        ("avcaffe", "ground_truths/valence.txt", 2, "aiim001_task_2, Calm", "'Calm' is not among Pleasant, Pleased"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, name, file, line, text, message):
    tree = grown(name, tmp_path)
    lines = (tree.root / file).read_text().splitlines()
    lines[line - 1] = text
    tree.text(file, *lines)
    where = rf"{re.escape(file)}, line {line}: {message}"
    with pytest.raises(ValueError, match=where):
        built(name, tree.root)


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("msp_improv", "Evalution.txt", r"there is no Evalution\.txt"),
        ("mafw", "Train & Test Set", r"there is no single/no_caption/set_1/test\.txt"),
        ("dfew", "EmoLabel_DataSplit", r"there is no test\(single-labeled\)/set_1\.csv"),
        ("mer2023", "test1-label.csv", r"there is no test1-label\.csv"),
        ("werewolf_xl", "labels.csv", r"there is no labels\.csv; write it with the columns"),
        ("avcaffe", "ground_truths", r"there is no ground_truths/arousal\.txt"),
        ("voxceleb2", "dev", "there are no clips of voxceleb2 .*`hicmae corpora voxceleb2` shows its layout"),
    ],
)
def test_missing_labels_are_named(tmp_path, name, file, message):
    root = grown(name, tmp_path).root
    (root / file).rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=message):
        built(name, root)


def test_one_official_list_is_enough_for_a_part(tmp_path):
    tree = grown("mafw", tmp_path)
    for fold in range(2, 6):
        (tree.root / f"Train & Test Set/single/no_caption/set_{fold}/test.txt").unlink()
    manifest = built("mafw", tree.root)
    assert manifest["test_fold"].value_counts(dropna=False).to_dict() == {1: 11, pd.NA: 44}
    with pytest.raises(ValueError, match=r"there is no single/no_caption/set_2/test\.txt"):
        built("mafw", tree.root, allow_incomplete=False)


def test_missing_files_of_listed_clips_are_rows(tmp_path):
    root = grown("dfew", tmp_path).root
    for order in (6, 7, 8):
        (root / f"Clip/original/{order}.mp4").unlink()
    manifest = built("dfew", root)
    assert manifest["status"].value_counts().to_dict() == {"ok": 32, "missing": 3}
    assert (root / "Clip/original/9.mp4").stat().st_size > 0


def test_a_speaker_in_two_folds_is_refused_even_in_a_part(tmp_path):
    row = {"video": "v.mp4", "subject": "s", "label": "calm"}
    rows = [{**row, "clip_id": str(fold), "fold": fold} for fold in (1, 2)]
    pd.DataFrame(rows).to_csv(tmp_path / "manifest.csv", index=False)
    (tmp_path / "v.mp4").touch()
    dataset = DatasetParams(corpus="csv", classes=("calm", "angry"), num_folds=2, allow_incomplete=True)
    with pytest.raises(ValueError, match=r"1 speakers are both trained on and tested \(s\)"):
        build_manifest("mine", dataset, tmp_path, None, 1, 0.1)


def test_several_targets_of_classes_are_read_from_a_table(tmp_path):
    rows = [
        {"clip_id": f"c{i}", "video": "v.mp4", "fold": fold, "arousal": arousal, "valence": valence}
        for i, (fold, arousal, valence) in enumerate(
            [(1, "low", "high"), (1, "high", "low"), (2, "low", "high"), (2, "high", "low"), (2, "low", "odd")]
        )
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "manifest.csv", index=False)
    (tmp_path / "v.mp4").touch()
    dataset = DatasetParams(
        corpus="csv", task="multi_classification", classes=("low", "high"), targets=("arousal", "valence"), num_folds=2
    )
    manifest = build_manifest("mine", dataset, tmp_path, None, 1, 0.2)
    assert manifest["target_arousal"].tolist() == [0, 1, 0, 1, 0]
    assert manifest["target_valence"].tolist() == [1, 0, 1, 0, pd.NA]
    assert manifest["reason"].iloc[-1] == "target valence odd is not among low, high"


def test_odd_files_are_ignored_and_links_followed(tmp_path):
    tree = trees.mer2023(trees.Tree(tmp_path / "raw", tmp_path))
    outside = trees.mer2023(trees.Tree(tmp_path / "outside", tmp_path)).root
    expected = built("mer2023", tree.root)
    tree.media(
        ["train/._sample_00000001.mp4", "__MACOSX/train/sample_00000001.mp4", "train/notes.mp4", ".x/train/a.mp4"]
    )
    tree.text("train/sample_00000001.mp4.txt", "odd").text("train/.DS_Store", "odd")
    (tree.root / "train/back").symlink_to(tree.root)
    pd.testing.assert_frame_equal(built("mer2023", tree.root), expected)
    (tree.root / "train").rename(tmp_path / "moved")
    assert (built("mer2023", tree.root)["status"] == "missing").sum() == 6
    (tree.root / "train").symlink_to(outside / "train")
    pd.testing.assert_frame_equal(built("mer2023", tree.root), expected)


def test_two_files_of_one_clip_are_refused(tmp_path):
    tree = trees.Tree(tmp_path / "raw", tmp_path).media(["a/x.mp4", "b/x.mp4", "b/x.avi"])
    files = Folder(tree.root).files
    with pytest.raises(ValueError, match=r"a/x\.mp4 and b/x\.mp4 are one clip by name; remove one of them"):
        by_key(files, (".mp4",))
    assert by_key(files, (".avi",)) == {"x": "b/x.avi"}
    assert by_key(files[1:], (".mp4", ".avi")) == by_key(files[:0:-1], (".mp4", ".avi")) == {"x": "b/x.mp4"}


def test_differences_are_counted_per_fold_and_class():
    clips = pd.DataFrame({"label_name": ["a", "a", "b", None], "test_fold": pd.array([1, 2, None, 2], dtype="Int64")})
    expected = per_fold(1, 2) + per_class({"a": 2, "b": (2, 3)}) + in_all(9, confirmed=False)
    table = differences(clips, expected)
    assert table.to_numpy().tolist() == [["all", "b", "2 to 3", 1, True], ["all", "all", "9", 4, False]]


def test_counts_that_are_unconfirmed_are_told_only(tmp_path):
    told = []
    root = grown("mer2023", tmp_path).root
    build_manifest("mer2023", READY_MADE["mer2023"].params, root, None, 1, 0.1, told.append)
    assert "unconfirmed" in told[0]
    assert "411" in told[0]


def counted(name, changes=None):
    """Clips with a dataset's published numbers per class, spread over the folds as published."""
    published = {(entry.fold, entry.label): entry.low for entry in READY_MADE[name].counts}
    labels = [label for (fold, label), count in published.items() if fold is None for _ in range(count)]
    folds = [fold for (fold, label), count in published.items() if label is None for _ in range(count)]
    if name == "dfew":  # whose first fold is known by class
        first = [label for (fold, label), count in published.items() if fold == 1 and label for _ in range(count)]
        rest = list((Counter(labels) - Counter(first)).elements())
        labels = first + rest
    for label, count in (changes or {}).items():
        labels += [label] * count
        folds += [2] * count
    return pd.DataFrame({"label_name": labels, "test_fold": folds})


def told(name, clips):
    """The classes whose counts differ, in all folds, and whether each is sure to be wrong."""
    table = differences(clips, READY_MADE[name].counts)
    return {row["class"]: row["confirmed"] for _, row in table[table["fold"] == "all"].iterrows()}


def test_a_full_download_of_mafw_and_dfew_has_the_confirmed_counts():
    for name, total in (("mafw", 9156), ("dfew", 11697)):
        clips = counted(name)
        assert len(clips) == total
        assert differences(clips, READY_MADE[name].counts).empty
    silent = {"anger": 2, "happiness": 6, "neutral": 2, "sadness": 4, "surprise": 2}
    assert told("mafw", counted("mafw", silent)) == {}
    for name, label in (("mafw", "disgust"), ("mafw", "contempt"), ("dfew", "disgust"), ("dfew", "fear")):
        assert told(name, counted(name, {label: 1})) == {label: True}
    for label, slack in silent.items():
        assert told("mafw", counted("mafw", {label: slack + 1})) == {label: True}


def test_classes_of_dfew_that_change_places_in_its_first_fold_are_told():
    clips = counted("dfew")
    for label, fold, other in (("fear", 1, 2), ("happy", 2, 1)):
        there = clips.index[(clips["label_name"] == label) & (clips["test_fold"] == fold)]
        clips.loc[there[0], "test_fold"] = other
    table = differences(clips, READY_MADE["dfew"].counts)
    assert [(row["fold"], row["class"], row["found"]) for _, row in table.iterrows()] == [
        (1, "happy", 490),
        (1, "fear", 180),
    ]


def test_the_counts_of_mafw_s_compound_lists_are_confirmed():
    published = READY_MADE["mafw_43"].counts
    assert [(entry.low, entry.high) for entry in published] == [(n, n) for n in (1818, 1809, 1798, 1788, 1783)]
    assert all(entry.confirmed for entry in published)


def test_published_counts_belong_to_the_question_not_to_the_name():
    mine = DatasetParams(corpus="crema_d", classes=("sadness", "anger", "happiness", "neutral"), num_folds=5)
    assert published_counts(mine) == READY_MADE["crema_d_4"].counts
    assert published_counts(mine.model_copy(update={"labels": "perceived"})) == ()
    assert published_counts(DatasetParams(corpus="csv", classes=("a", "b"), num_folds=5)) == ()


@pytest.mark.parametrize(
    ("name", "proper"),
    [("CREMA-D", "crema_d"), ("cremad", "crema_d"), ("Crema_D-4", "crema_d_4"), ("mer-multi", "mer2023")],
)
def test_names_match_without_case_and_hyphens(name, proper):
    assert dataset_named(name, {}) == (proper, READY_MADE[proper].params)


def test_a_dataset_of_params_yaml_comes_first():
    mine = DatasetParams(corpus="csv", task="unlabelled")
    assert dataset_named("VoxCeleb2", {"vox_celeb_2": mine}) == ("vox_celeb_2", mine)
    with pytest.raises(
        ValueError, match=r"no dataset `nowhere` in params\.yaml; there are: mine; and without an entry"
    ):
        dataset_named("nowhere", {"mine": mine})


def test_a_participant_s_task_is_a_unit(tmp_path):
    """Other corpora's clips are scored one by one."""
    manifest = built("avcaffe_valence", grown("avcaffe_valence", tmp_path).root)
    assert manifest["unit"].nunique() == 10
    assert all(
        clip_id.startswith(f"{unit}_") for clip_id, unit in zip(manifest["clip_id"], manifest["unit"], strict=True)
    )
    (tmp_path / "other").mkdir()
    tree = trees.Tree(tmp_path / "other/raw", tmp_path / "other")
    clips = built("mer2023", trees.mer2023(tree).root)
    assert clips["unit"].tolist() == clips["clip_id"].tolist()


def test_one_target_of_avcaffe_is_chosen_by_its_labels(tmp_path):
    root = grown("avcaffe", tmp_path).root
    first = built("avcaffe_valence", root, labels="")
    assert first["label"].tolist() == built("avcaffe_arousal", root)["label"].tolist()
    with pytest.raises(ValueError, match="corpus avcaffe has no labels `dominance`; there are: arousal, valence"):
        built("avcaffe_arousal", root, labels="dominance")
    with pytest.raises(ValueError, match="`labels: valence` chooses the one target of a classification; leave it out"):
        built("avcaffe", root, labels="valence")
    os.remove(root / "ground_truths/valence.txt")
    assert len(built("avcaffe_arousal", root)) == 20
    assert dataset_named("AVCAFFE-Arousal", {})[0] == "avcaffe_arousal"


def test_presets_hold_the_ready_made_datasets():
    found = {}
    for path in [
        *(ROOT / "hicmae_core/presets").glob("finetune_*.yaml"),
        ROOT / "hicmae_core/presets/shared/pretraining.yaml",
    ]:
        preset = yaml.safe_load(path.read_text())
        found |= {name: DatasetParams.model_validate(values) for name, values in preset["dataset"].items()}
    assert found == {name: made.params for name, made in READY_MADE.items()}


def test_published_results_are_found_by_the_datasets_names():
    without = [name for name in READY_MADE if not published_results(name)]
    assert without == ["crema_d_perceived", "javanese", "ravdess_drawn", "mafw_43", "avcaffe", "voxceleb2"]
    for name, made in READY_MADE.items():
        for result in published_results(name):
            targets = {metric.rpartition("_")[2] for metric in result.percent} if made.params.targets else set()
            assert targets <= set(made.params.targets)


def test_every_corpus_is_described():
    assert {name for name, corpus in CORPORA.items() if not corpus.about} == {"csv", "demo", "demo_unlabelled"}
    for corpus in CORPORA.values():
        assert bool(corpus.about) == bool(corpus.datasets)
        assert {made.params.corpus for made in corpus.datasets.values()} <= {corpus.name}
    with pytest.raises(ValueError, match=r"corpus demo \(the generated .*\) is not downloaded"):
        catalogue("demo")
    assert (ROOT / "docs/corpora.md").read_text(encoding="utf-8") == catalogue()


def test_every_file_with_a_corpus_is_imported_by_the_registry():
    files = (ROOT / "hicmae_core/corpora").glob("*.py")
    written = [name for path in files for name in re.findall(r"^(\w+) = Corpus\($", path.read_text(), re.MULTILINE)]
    assert sorted(written) == sorted(name.upper() for name in CORPORA)
    assert len(READY_MADE) == sum(len(corpus.datasets) for corpus in CORPORA.values())


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_prepares_a_ready_made_dataset_from_the_project_s_root(tmp_path):
    root = str(trees.avcaffe(trees.Tree(tmp_path / "raw", tmp_path)).root)
    out = tmp_path / "manifest.parquet"
    refused = command("stages.manifest", "--dataset", "AVCAFFE", "--root", root, "--out", str(out))
    assert refused.returncode == 1
    assert "published" in refused.stdout
    assert "58112" in refused.stdout
    assert "--allow-incomplete" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not out.exists()
    done = command("stages.manifest", "--dataset", "AVCAFFE", "--root", root, "--out", str(out), "--allow-incomplete")
    assert done.returncode == 0, done.stderr
    assert "avcaffe: 20 clips, 20 ok; 2 speakers; 10 units, each scored as one" in done.stdout
    assert len(pd.read_parquet(out)) == 20


def test_the_command_lists_the_corpora():
    listed = command("hicmae.cli", "corpora")
    assert listed.stdout == (ROOT / "docs/corpora.md").read_text(encoding="utf-8")
    one = command("hicmae.cli", "corpora", "Mer-Multi")
    assert one.stdout.startswith("## mer2023\n")
    assert "## mafw" not in one.stdout
