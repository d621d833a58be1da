import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hicmae_core.config import DatasetParams, FinetuneParams
from hicmae_core.data.augmentation import resize_only
from hicmae_core.data.clips import ClipDataset
from hicmae_core.finetuning.validation import own_share, scores, validate
from hicmae_core.model.probabilities import fit_temperature
from hicmae_core.model.sizes import classifier
from hicmae_core.store.manifest import Units
from tests.disagreeing import PROBABILITIES, make_disagree

from .conftest import open_clips
from .together import together

SETTINGS = FinetuneParams(batch_size=8)
EMOTIONS = DatasetParams(corpus="csv", classes=("a", "b", "c", "d"), num_folds=2)
AFFECT = DatasetParams(corpus="csv", task="regression", targets=("arousal", "valence"), num_folds=2)


def test_uar_is_the_mean_recall_of_the_classes_present() -> None:
    outputs = torch.eye(4)[[0, 0, 0, 1, 3, 2]]
    labels = torch.tensor([0, 0, 0, 0, 3, 3])
    found = scores(outputs, labels, EMOTIONS, SETTINGS)
    assert found["validation_uar"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert found["validation_war"] == pytest.approx(4 / 6)
    assert found["score"] == found["validation_uar"]


def test_a_smaller_error_scores_higher() -> None:
    targets = torch.tensor([[0.0, 1.0]])
    near, far = (scores(targets + offset, targets, AFFECT, SETTINGS) for offset in (0.1, 0.5))
    assert near["validation_loss"] == pytest.approx(0.01)
    assert near["score"] > far["score"]


def test_the_loss_of_a_regression_is_the_one_that_is_trained() -> None:
    targets = torch.rand(9, 2, generator=torch.Generator().manual_seed(0))
    found = scores(2 * targets + 1, targets, AFFECT, SETTINGS.model_copy(update={"regression_loss": "pcc"}))
    assert found == pytest.approx({"validation_loss": 0, "score": 0}, abs=1e-6)


def test_several_targets_are_averaged() -> None:
    dataset = DatasetParams(
        corpus="csv", task="multi_classification", classes=("a", "b"), targets=("x", "y"), num_folds=2
    )
    labels = torch.tensor([[0, 1], [1, 1], [1, 0], [0, 0]])
    outputs = torch.eye(2)[labels]
    outputs[0, 1] = outputs[0, 1].flip(0)  # one mistake of the second target
    found = scores(outputs.flatten(1), labels, dataset, SETTINGS)
    assert found["validation_uar"] == pytest.approx((1 + 3 / 4) / 2)
    assert found["validation_war"] == pytest.approx(7 / 8)
    assert found["score"] == found["validation_uar"]


@pytest.mark.parametrize("num_targets", [1, 2])
def test_segments_that_disagree_average_their_probabilities(labelled: ClipDataset, num_targets: int) -> None:
    torch.manual_seed(0)
    model = classifier("demo", 3 * num_targets, image_size=32, num_frames=4, num_audio_frames=32).eval()
    frames, fbank = labelled.test_item(3, 2)
    with torch.no_grad():
        make_disagree(model, model.features(resize_only(frames, 32), fbank[:, None]), num_targets)
    names = ("arousal", "valence")[: num_targets - 1 and num_targets]
    task = "multi_classification" if names else "classification"
    dataset = DatasetParams(corpus="csv", task=task, classes=("a", "b", "c"), targets=names, num_folds=2)
    labels = np.arange(num_targets)[None]  # what averaged probabilities say; averaged logits say 2, and 0
    clip = replace(labelled, clip_ids=labelled.clip_ids[3:4], labels=labels if names else labels[0], subjects=None)
    found = validate(model, clip, dataset, SETTINGS, 0)
    assert (found["validation_uar"], found["validation_war"]) == (1, 1)
    assert found["validation_loss"] == pytest.approx(-np.log(PROBABILITIES[0]), abs=1e-3)
    fitted = fit_temperature(np.log([PROBABILITIES]), np.array([0]))
    for suffix in dataset.suffixes:
        assert found[f"validation_temperature{suffix}"] == pytest.approx(fitted, rel=1e-2)


def test_reading_twice_is_identical_and_batches_do_not_matter(labelled: ClipDataset) -> None:
    torch.manual_seed(0)
    model = classifier("demo", 3, image_size=32, num_frames=4, num_audio_frames=32, drop_path=0.5)
    dataset = EMOTIONS.model_copy(update={"classes": ("a", "b", "c")})
    first = validate(model, labelled, dataset, SETTINGS, 0)
    assert validate(model, labelled, dataset, SETTINGS, 0) == first
    other = SETTINGS.model_copy(update={"batch_size": 5})
    assert validate(model, labelled, dataset, other, 0) == pytest.approx(first, rel=1e-5)


# Probabilities of class b in two epochs: four clips of unit u (label b), two of unit v (label a).
BY_EPOCH = {
    "clips": [0.55, 0.55, 0.55, 0.05, 0.1, 0.1],  # five of six clips, of u nothing in the mean
    "units": [0.45, 0.45, 0.45, 0.95, 0.6, 0.2],  # two of six clips, both units
}
TWO = DatasetParams(corpus="csv", classes=("a", "b"), num_folds=2)


@pytest.mark.parametrize(("names", "best"), [("123456", "clips"), ("uuuuvv", "units")])
def test_the_epoch_is_chosen_by_unit(names: str, best: str) -> None:
    labels = torch.tensor([1, 1, 1, 1, 0, 0])
    found = {
        epoch: scores(torch.tensor([[1 - p, p] for p in of_b]).log(), labels, TWO, SETTINGS, Units(names))
        for epoch, of_b in BY_EPOCH.items()
    }
    assert max(found, key=lambda epoch: found[epoch]["score"]) == best
    if best == "units":
        assert found["units"]["validation_war"] == 1
        assert found["units"]["validation_loss"] == pytest.approx(-(math.log(0.575) + math.log(0.6)) / 2, rel=1e-5)
        assert found["clips"]["validation_uar"] == 0.5


def test_the_temperature_is_of_clips_whatever_is_scored() -> None:
    logits = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([1, 1, 1, 1, 0, 0])
    by_clip, by_unit = (scores(logits, labels, TWO, SETTINGS, Units(names)) for names in ("123456", "uuuuvv"))
    assert by_clip["validation_temperature"] == by_unit["validation_temperature"]
    assert by_clip["validation_loss"] != by_unit["validation_loss"]


def test_values_are_averaged_over_a_unit() -> None:
    outputs = torch.tensor([[0.0, 1.0], [2.0, 1.0], [5.0, 5.0]])
    targets = torch.tensor([[1.0, 1.0], [1.0, 1.0], [4.0, 5.0]])
    assert scores(outputs, targets, AFFECT, SETTINGS, Units("uuv"))["validation_loss"] == pytest.approx(1 / 4)
    assert scores(outputs, targets, AFFECT, SETTINGS)["validation_loss"] == pytest.approx(3 / 6)


def test_units_of_the_validation_clips_are_scored(labelled: ClipDataset) -> None:
    """24 clips of 3 classes in turn; eight units of three clips of one class."""
    torch.manual_seed(0)
    model = classifier("demo", 3, image_size=32, num_frames=4, num_audio_frames=32)
    torch.nn.init.normal_(model.head.weight)
    dataset = EMOTIONS.model_copy(update={"classes": ("a", "b", "c")})
    assert labelled.labels is not None
    by_clip = validate(model, labelled, dataset, SETTINGS, 0)
    units = [f"{place // 9}-{place % 3}" for place in range(24)]
    by_unit = validate(model, replace(labelled, units=units), dataset, SETTINGS, 0)
    assert by_unit["validation_war"] * len(set(units)) == pytest.approx(round(by_unit["validation_war"] * 9))
    assert by_unit["validation_loss"] != by_clip["validation_loss"]
    assert by_unit["validation_temperature"] == by_clip["validation_temperature"]


def validate_together(clips_folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Metrics of 24 clips in 5 batches, and of 3 clips in one."""
    torch.manual_seed(0)
    model = classifier("demo", 3, image_size=32, num_frames=4, num_audio_frames=32, drop_path=0.5)
    torch.nn.init.normal_(model.head.weight)
    clips, dataset = open_clips(clips_folder, "classes"), EMOTIONS.model_copy(update={"classes": ("a", "b", "c")})
    few = replace(clips, clip_ids=clips.clip_ids[:3], labels=clips.labels[:3], subjects=None)
    settings = SETTINGS.model_copy(update={"batch_size": 10})
    return validate(model, clips, dataset, settings, 0), validate(model, few, dataset, settings, 0)


@pytest.mark.parametrize("num_processes", [2, 3])
def test_processes_share_the_clips_and_find_the_same_to_the_bit(
    clips_folder: Path, tmp_path: Path, num_processes: int
) -> None:
    (expected,) = together(1, validate_together, tmp_path / "one", clips_folder)
    assert 0 < expected[0]["validation_uar"] < 1
    found = together(num_processes, validate_together, tmp_path / "several", clips_folder)
    assert found == [expected] * num_processes


@pytest.mark.parametrize(("num_clips", "num_processes"), [(24, 3), (7, 3), (3, 2), (1, 4), (21, 2)])
def test_no_clip_is_counted_twice_and_none_is_missed(
    monkeypatch: pytest.MonkeyPatch, num_clips: int, num_processes: int
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(num_processes))
    counted = []
    for rank in range(num_processes):
        monkeypatch.setenv("RANK", str(rank))
        counted += own_share(num_clips, batch_size=5)
    assert sorted(counted) == list(range(num_clips))
