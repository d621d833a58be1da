"""A clip's outputs from its segments'."""

import pytest
import torch

from hicmae_core.model.probabilities import average_segments
from tests.disagreeing import LOGITS, PROBABILITIES, logits_of


def test_probabilities_are_averaged_not_logits():
    found = average_segments(LOGITS, num_classes=3).exp()
    assert found.tolist() == pytest.approx(PROBABILITIES, abs=1e-5)
    assert (found.argmax(), LOGITS.mean(dim=0).argmax()) == (0, 2)


def test_each_target_has_probabilities_of_its_own():
    found = average_segments(logits_of(2), num_classes=3).exp()
    assert found.tolist() == pytest.approx([*PROBABILITIES, PROBABILITIES[2], *PROBABILITIES[:2]], abs=1e-5)


def test_clips_side_by_side_are_averaged_each_alone():
    outputs = torch.randn(2, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    found = average_segments(outputs, num_classes=3)
    for place in [(0, 0), (1, 4)]:
        expected = outputs[place].view(4, 2, 3).softmax(dim=-1).mean(dim=0).flatten()
        torch.testing.assert_close(found[place].exp(), expected)


def test_one_segment_keeps_its_probabilities():
    torch.testing.assert_close(average_segments(LOGITS[:1], num_classes=3).exp(), LOGITS[0].softmax(dim=0))


def test_values_are_averaged_as_they_are():
    assert average_segments(torch.tensor([[0.0, 1.0], [1.0, 4.0]]), num_classes=0).tolist() == [0.5, 2.5]


def test_classes_that_are_out_of_the_question_leave_no_infinity():
    found = average_segments(torch.tensor([[0.0, 400.0], [0.0, 300.0]]), num_classes=2)
    assert found.tolist() == pytest.approx([-300 - torch.tensor(2.0).log().item(), 0.0], abs=1e-4)
