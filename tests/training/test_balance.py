import numpy as np
import pytest

from hicmae_core.training.losses import class_weights, sampling_weights

NINE_TO_ONE = np.repeat([0, 1], [90, 10])


def test_loss_weights_are_inverse_frequencies_with_mean_one_over_clips() -> None:
    weights = class_weights(NINE_TO_ONE, 3)
    np.testing.assert_allclose(weights, [[100 / 180, 100 / 20, 0]], rtol=1e-6)
    assert weights[0, NINE_TO_ONE].mean() == pytest.approx(1)
    assert weights[0, 1] / weights[0, 0] == pytest.approx(9)


def test_each_target_has_loss_weights_of_its_own() -> None:
    labels = np.stack([NINE_TO_ONE, NINE_TO_ONE[::-1] ** 2 + 1], axis=1)
    weights = class_weights(labels, 3)
    for target in (0, 1):
        np.testing.assert_array_equal(weights[[target]], class_weights(labels[:, target], 3))


def test_drawing_by_weight_evens_nine_to_one() -> None:
    weights = sampling_weights(NINE_TO_ONE)
    drawn = np.random.default_rng(0).choice(NINE_TO_ONE, size=10_000, p=weights / weights.sum())
    assert drawn.mean() == pytest.approx(0.5, abs=0.02)


def test_values_and_several_targets_are_refused() -> None:
    values = np.zeros((4, 2), np.float32)
    with pytest.raises(ValueError, match="these clips have values; set it to none"):
        class_weights(values, 2)
    with pytest.raises(ValueError, match="set it to none"):
        sampling_weights(values)
    with pytest.raises(ValueError, match="several targets cannot be drawn evenly; set it to loss"):
        sampling_weights(np.zeros((4, 2), np.int64))
