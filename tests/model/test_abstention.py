"""Abstaining against counting by hand."""

import math

import numpy as np
import pytest

from hicmae_core.model.probabilities import abstention_levels, level_for, risk_coverage

SURENESS = [0.9, 0.5, 0.8, 0.5, 0.6]
RIGHT = [1, 0, 0, 1, 1]


def test_the_curve_of_five_answers():
    curve = risk_coverage(SURENESS, RIGHT)
    assert curve.sureness.tolist() == [0.9, 0.8, 0.6, 0.5]  # equals are given or not together
    assert curve.coverage.tolist() == [0.2, 0.4, 0.6, 1.0]
    np.testing.assert_allclose(curve.risk, [0, 1 / 2, 1 / 3, 2 / 5])
    assert curve.area == pytest.approx(0.2 * (0 + 1 / 2 + 1 / 3) + 0.4 * 2 / 5)


@pytest.mark.parametrize(("risk", "level"), [(0, 0.9), (0.34, 0.6), (0.4, 0.5), (1, 0.5)])
def test_the_level_is_the_lowest_that_keeps_to_the_risk(risk, level):
    assert level_for(abstention_levels(SURENESS, RIGHT), risk) == level


def test_no_level_keeps_to_a_risk_that_the_surest_answer_breaks():
    assert math.isinf(level_for(abstention_levels([0.9, 0.3], [0, 1]), 0.4))


def test_levels_are_those_after_which_the_risk_is_never_as_low_again():
    levels = abstention_levels(SURENESS, RIGHT)
    np.testing.assert_allclose(levels, [[0.9, 0], [0.6, 1 / 3], [0.5, 2 / 5]])
