import torch

from hicmae_core.training.randomness import generator_for, seed_everything


def test_same_keys_draw_the_same_and_others_differ() -> None:
    draws = {
        keys: tuple(torch.rand(3, generator=generator_for(*keys)).tolist())
        for keys in [(0, "masks", 1, 2), (0, "masks", 12), (0, "masks", 2, 1), (1, "masks", 1, 2), (0, "gain", 1, 2)]
    }
    assert len(set(draws.values())) == len(draws)
    for keys, draw in draws.items():
        assert tuple(torch.rand(3, generator=generator_for(*keys)).tolist()) == draw


def test_seeding_everything_fixes_the_global_generator() -> None:
    seed_everything(3, "model", 0)
    first = torch.rand(4)
    torch.rand(10)
    seed_everything(3, "model", 0)
    assert torch.equal(first, torch.rand(4))
