import pytest
import torch
from scipy.stats import chi2

from hicmae_core.model.masking import random_mask, split_tokens, take, tube_mask


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_tube_mask_hides_the_published_number_of_tokens():
    mask = tube_mask(5, 8, 100, 0.9, seeded(), "cpu")
    assert mask.dtype == torch.bool
    assert mask.shape == (5, 800)
    tubes = mask.view(5, 8, 100)
    assert (tubes == tubes[:, :1]).all()
    assert (tubes.sum(2) == 90).all()
    assert len({tuple(row.tolist()) for row in mask}) == 5


def test_random_mask_hides_the_published_number_of_tokens():
    mask = random_mask(5, 128, 0.8, seeded(), "cpu")
    assert (mask.sum(1) == 102).all()
    assert len({tuple(row.tolist()) for row in mask}) == 5


def test_random_mask_is_uniform_and_follows_its_generator():
    mask = random_mask(4000, 10, 0.5, seeded(), "cpu")
    assert (mask.float().mean(0) - 0.5).abs().max() < 0.05
    assert torch.equal(mask, random_mask(4000, 10, 0.5, seeded(), "cpu"))
    assert not torch.equal(mask, random_mask(4000, 10, 0.5, seeded(1), "cpu"))


@pytest.mark.parametrize("ratio", [0.05, 1.0])
def test_masks_leave_something_on_both_sides(ratio):
    with pytest.raises(ValueError, match="leaves some masked and some visible"):
        random_mask(2, 10, ratio, seeded(), "cpu")


def test_split_and_take_agree_with_boolean_indexing():
    mask = random_mask(6, 20, 0.7, seeded(), "cpu")
    tokens = torch.randn(6, 20, 3, generator=seeded(1))
    for given in (mask, mask.float()):
        visible, masked = split_tokens(given)
        assert torch.equal(take(tokens, visible), tokens[~mask].view(6, -1, 3))
        assert torch.equal(take(tokens, masked), tokens[mask].view(6, -1, 3))


def test_masks_that_cannot_be_split():
    uneven = torch.tensor([[1, 1, 0], [1, 0, 0]])
    with pytest.raises(ValueError, match=r"equally many tokens, got \[2, 1\]"):
        split_tokens(uneven)
    for value in (0, 1):
        with pytest.raises(ValueError, match="on both sides"):
            split_tokens(torch.full((2, 3), value))


def odds(counts: torch.Tensor, expected: float, variance: float) -> float:
    """Chance of counts at least this uneven (chi-square), where each varies by `variance` around `expected`."""
    return chi2.sf((((counts - expected) ** 2).sum() / variance).item(), counts.numel() - 1)


def odds_of_positions(mask: torch.Tensor) -> float:
    """The same for how often each position of ``[B, N]`` is hidden; of N positions always as many are."""
    num_rows, num_positions = mask.shape
    share = mask[0].double().mean().item()
    variance = num_rows * share * (1 - share) * num_positions / (num_positions - 1)
    return odds(mask.double().sum(0), num_rows * share, variance)


@pytest.mark.parametrize(("num_tokens", "ratio", "num_masked"), [(100, 0.9, 90), (128, 0.8, 102), (10, 0.35, 3)])
def test_each_position_is_hidden_equally_often(num_tokens, ratio, num_masked):
    mask = random_mask(20_000, num_tokens, ratio, seeded(), "cpu")
    assert (mask.sum(1) == num_masked).all()
    assert 0.001 < odds_of_positions(mask) < 0.999
    tubes = tube_mask(20_000, 2, num_tokens, ratio, seeded(1), "cpu").view(-1, 2, num_tokens)
    assert (tubes.sum(2) == num_masked).all()
    assert torch.equal(tubes[:, 0], tubes[:, 1])
    assert 0.001 < odds_of_positions(tubes[:, 0]) < 0.999


def test_each_set_of_positions_is_hidden_equally_often():
    mask = random_mask(20_000, 6, 0.5, seeded(), "cpu")
    counts = (mask * 2 ** torch.arange(6)).sum(1).unique(return_counts=True)[1]
    assert len(counts) == 20
    assert 0.001 < odds(counts, 1000, 1000) < 0.999


def test_the_odds_notice_scores_that_tie():
    scores = torch.rand(20_000, 128, generator=seeded()).mul(2**5).floor()
    mask = torch.zeros_like(scores).scatter_(1, scores.argsort(dim=1, stable=True)[:, :102], 1)
    assert odds_of_positions(mask) < 1e-6
