"""Features laid out in the plane."""

import numpy as np
import pytest

from hicmae_core.evaluation.embedding import lay_out
from hicmae_core.reports.figures import BLUE, ORANGE, Layout, plot_layouts
from tests.drawings import areas


def test_groups_stay_apart_and_layouts_are_the_same_every_time():
    rng = np.random.default_rng(0)
    which = np.repeat([0, 1], 20)
    features = (rng.normal(size=(40, 16)) + 8 * which[:, None]).astype(np.float32)
    points = lay_out(features)
    assert points.shape == (40, 2)
    centres = np.array([points[which == group].mean(axis=0) for group in (0, 1)])
    nearest = np.linalg.norm(points[:, None] - centres, axis=-1).argmin(axis=1)
    assert (nearest == which).all()
    assert np.array_equal(points, lay_out(features))
    with pytest.raises(ValueError, match="at least 4 clips"):
        lay_out(features[:3])


def test_a_picture_has_a_panel_per_layout_and_kind(tmp_path):
    points = np.random.default_rng(0).normal(size=(24, 2))
    groups = {"class": ["a", "b"] * 12, "speaker": [f"s{index % 12}" for index in range(24)]}
    plot_layouts({"before": Layout(points, groups), "after": Layout(points, groups)}, tmp_path / "features.png")
    assert min(areas(tmp_path / "features.png", colour) for colour in (BLUE, ORANGE)) > 20  # 2 panels of 12 points
