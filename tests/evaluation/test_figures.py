import itertools

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hicmae_core.reports.figures import plot_confusion, plot_fold_boxes, plot_history, plot_reconstruction


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_many_classes_stay_small(tmp_path):
    classes = [f"emotion {index}" for index in range(20)]
    plot_confusion(np.diag(np.arange(20))[None], classes, (), tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").stat().st_size < 200_000


def test_history_from_a_file_leaves_out_what_is_not_a_number(tmp_path):
    history = pd.DataFrame({"epoch": range(6), "total": np.arange(6.0), "note": "x", "empty": np.nan})
    history.to_csv(tmp_path / "history.csv", index=False)
    plot_history(tmp_path / "history.csv", tmp_path / "file.png")
    plot_history(history[["epoch", "total"]], tmp_path / "table.png")
    assert (tmp_path / "file.png").read_bytes() == (tmp_path / "table.png").read_bytes()


def test_history_without_curves_is_refused(tmp_path):
    with pytest.raises(ValueError, match="epoch"):
        plot_history(pd.DataFrame({"epoch": [1, 2]}), tmp_path / "history.png")
    assert not list(tmp_path.iterdir())


def test_reconstruction_shows_what_it_is_given(tmp_path):
    video = {name: np.zeros((4, 32, 32, 3)) + colour for name, colour in zip("omp", np.eye(3), strict=True)}
    video["u"] = np.full((4, 32, 32, 3), (1.0, 1.0, 0.0))
    audio = np.random.default_rng(0).normal(size=(64, 32))
    hidden = np.where(np.arange(64)[:, None] < 32, np.nan, audio)
    plot_reconstruction(
        {
            "frames": video["o"],
            "frames_masked": video["m"],
            "frames_untrained": video["u"],
            "frames_predicted": video["p"],
            "log_mel": audio,
            "log_mel_masked": hidden,
            "log_mel_untrained": audio,
            "log_mel_predicted": audio,
        },
        tmp_path / "reconstruction.png",
    )
    picture = pixels(tmp_path / "reconstruction.png")
    colours = [(255, 0, 0), (0, 255, 0), (255, 255, 0), (0, 0, 255)]  # original, masked, untrained, predicted
    rows_of = [np.flatnonzero((picture == colour).all(-1).any(1)) for colour in colours]
    assert all(above.max() < below.min() for above, below in itertools.pairwise(rows_of))
    assert (picture == 0xCC).all(-1).sum() > 1000


def test_boxes_show_a_point_per_fold_and_follow_the_numbers(tmp_path):
    def drawn(values):
        rows = [{"row": f"fold {index + 1}", "uar": value, "war": 0.5} for index, value in enumerate(values)]
        plot_fold_boxes(pd.DataFrame([*rows, {"row": "mean", "uar": 9.0, "war": 9.0}]), ["uar", "war"], tmp_path / "b")
        return pixels(tmp_path / "b")

    spread, same, one = drawn([0.2, 0.4, 0.9]), drawn([0.5, 0.5, 0.5]), drawn([0.5])

    def heights(picture):  # of all that is bluish: points and their numbers
        return np.ptp(np.flatnonzero(((picture[..., 2] - picture[..., 0]) > 60).any(1)))

    assert heights(spread) > 5 * heights(same)
    assert one.shape == spread.shape
