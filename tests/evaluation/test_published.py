import numpy as np
import pytest

from hicmae_core.corpora.published import CLASSES, class_of
from hicmae_core.corpora.registry import READY_MADE, published_results, why_not_comparable

DATASETS = (
    "crema_d",
    "mafw",
    "dfew",
    "ravdess",
    "msp_improv",
    "iemocap",
    "mer2023",
    "werewolf_xl",
    "avcaffe_arousal",
    "avcaffe_valence",
)


def test_every_dataset_of_the_paper_starts_with_hicmae():
    for name in DATASETS:
        first = published_results(name)[0]
        assert (first.system, first.modality, first.year) == ("HiCMAE-B", "both", 2024), name


def test_avcaffe_s_numbers_are_of_one_model_per_target():
    assert published_results("avcaffe_arousal")[0].percent == {"weighted_f1": 43.18}
    assert published_results("avcaffe_valence")[0].percent == {"weighted_f1": 44.20}
    assert published_results("avcaffe") == ()
    for name in ("avcaffe", "mine"):
        assert "train `avcaffe_arousal` and `avcaffe_valence`" in why_not_comparable(name, READY_MADE["avcaffe"].params)


@pytest.mark.parametrize("name", DATASETS)
def test_ready_made_datasets_are_what_the_numbers_are_of(name):
    dataset = READY_MADE[name].params
    assert why_not_comparable(name, dataset) == ""
    other = dataset.model_copy(update={"classes": ("a", "b"), "task": "classification"})
    assert "ours of 2 classes" in why_not_comparable(name, other)


@pytest.mark.parametrize(
    ("name", "labels", "words"),
    [
        ("avcaffe_arousal", "valence", "on the labels `arousal`, ours on `valence`"),
        ("avcaffe_valence", "arousal", "on the labels `valence`, ours on `arousal`"),
        ("avcaffe_valence", "", "on the labels `valence`, ours on the corpus's first ones"),
        ("crema_d", "perceived", "on the labels `intended`, ours on `perceived`"),
    ],
)
def test_numbers_on_other_labels_stand_beside_nothing(name, labels, words):
    dataset = READY_MADE[name].params.model_copy(update={"labels": labels})
    assert words in why_not_comparable(name, dataset)


def test_numbers_are_percent_and_have_a_source():
    for name in DATASETS:
        for result in published_results(name):
            assert result.source
            assert result.percent
            assert all(15 < value < 100 for value in result.percent.values()), (name, result)


def rows(name, system):
    return [result for result in published_results(name) if result.system == system]


def test_folds_average_to_the_total():
    found = []
    for name in DATASETS:
        for result in published_results(name):
            for metric, values in result.folds.items():
                found.append((name, result.system, metric, len(values)))
                assert abs(np.mean(values) - result.percent[metric]) < 0.06
    assert found == [
        ("crema_d", "HiCMAE-B", "uar", 5),
        ("crema_d", "HiCMAE-B", "war", 5),
        ("mafw", "HiCMAE-B", "uar", 5),
        ("mafw", "HiCMAE-B", "war", 5),
        ("mafw", "AVF-MAE++ H", "war", 5),
        ("msp_improv", "AVF-MAE++ H", "war", 6),
    ]


def test_like_stands_beside_like():
    for name in DATASETS:
        for result in published_results(name):
            assert result.system_class in CLASSES
            if result.modality in ("video", "audio"):
                assert result.system_class == class_of(result.modality), result
    assert {name: rows("dfew", name)[0].system_class for name in ("MMA-DFER", "CLAIP-Emo L/14", "HumanOmni-7B")} == {
        "MMA-DFER": "adapters on pre-trained models, audio-visual",
        "CLAIP-Emo L/14": "CLIP and CLAP",
        "HumanOmni-7B": "multimodal language model",
    }
    assert class_of("both") == rows("mafw", "AVF-MAE++ B")[0].system_class == "self-supervised, audio-visual"


def test_how_the_epoch_was_chosen_is_said():
    for name in DATASETS:
        for result in published_results(name):
            if result.system.startswith("HiCMAE"):
                assert "epoch: last or best on the test fold, not stated" in result.note
            if result.system in ("AVF-MAE++ H", "CLAIP-Emo L/14"):
                assert "test-selected" in result.note
    assert rows("mafw", "MMA-DFER")[0].note.endswith("epoch: last")


@pytest.mark.parametrize(
    ("dataset", "system", "percent", "words"),
    [
        ("dfew", "HiCMAE-T", {"uar": 59.14, "war": 71.24}, "second-hand"),
        ("dfew", "HiCMAE-S", {"uar": 61.37, "war": 72.20}, "second-hand"),
        ("iemocap", "HiCMAE-S", {"uar": 67.46}, "second-hand"),
        ("crema_d", "SVFAP-B", {"uar": 77.31, "war": 77.37}, ""),
        ("ravdess", "SVFAP-B", {"uar": 75.15, "war": 75.01}, ""),
        ("mafw", "SVFAP-B", {"uar": 41.19, "war": 54.28}, ""),
        ("dfew", "S4D", {"war": 76.68}, "static images"),
        ("mafw", "S4D", {"war": 58.44}, "static images"),
        ("dfew", "MiRA-H", {"uar": 68.25, "war": 78.24}, "second-hand"),
        ("mafw", "CLAIP-Emo L/14", {"war": 61.18}, "8 M parameters trained"),
        ("dfew", "HumanOmni-7B", {"uar": 74.86, "war": 82.46}, "trained on both"),
        ("avcaffe_arousal", "SVFAP-B", {"weighted_f1": 40.36}, ""),
        ("avcaffe_valence", "baseline", {"weighted_f1": 39.50}, "through SVFAP"),
    ],
)
def test_newer_rows_carry_their_caveats(dataset, system, percent, words):
    (result,) = rows(dataset, system)
    assert dict(result.percent) == percent
    assert words in result.note


def test_coefficients_go_to_their_targets():
    (svfap,), (baseline,) = rows("werewolf_xl", "SVFAP-B"), rows("werewolf_xl", "baseline")
    assert (svfap.percent["pcc_arousal"], svfap.percent["ccc_dominance"]) == (23.51, 29.69)
    assert (baseline.percent["pcc_valence"], baseline.percent["ccc_arousal"]) == (63.14, 27.70)


def test_others_have_none():
    assert published_results("demo") == ()
