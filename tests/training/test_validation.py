import pytest
import torch

from hicmae_core.data.clips import ClipDataset
from hicmae_core.model.sizes import classifier
from hicmae_core.training.validation import scores, validate


def test_uar_is_the_mean_recall_of_the_classes_present() -> None:
    outputs = torch.eye(4)[[0, 0, 0, 1, 3, 2]]
    labels = torch.tensor([0, 0, 0, 0, 3, 3])
    found = scores(outputs, labels, "classification")
    assert found["validation_uar"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert found["validation_war"] == pytest.approx(4 / 6)
    assert found["score"] == found["validation_uar"]


def test_a_smaller_error_scores_higher() -> None:
    targets = torch.tensor([[0.0, 1.0]])
    near, far = (scores(targets + offset, targets, "regression") for offset in (0.1, 0.5))
    assert near["validation_loss"] == pytest.approx(0.01)
    assert near["score"] > far["score"]


def test_reading_twice_is_identical_and_batches_do_not_matter(labelled: ClipDataset) -> None:
    torch.manual_seed(0)
    model = classifier("demo", 3, image_size=32, num_frames=4, num_audio_frames=32, drop_path=0.5)
    first = validate(model, labelled, "classification", 8, 0)
    assert validate(model, labelled, "classification", 8, 0) == first
    assert validate(model, labelled, "classification", 5, 0) == pytest.approx(first, rel=1e-5)
