"""The operations do to every frame what timm's do to a picture."""

import math
import random

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import auto_augment as timm_ops

from hicmae_core.data import randaugment as ours

TIMM_NAMES = {
    "autocontrast": "AutoContrast",
    "equalize": "Equalize",
    "invert": "Invert",
    "rotate": "Rotate",
    "posterize": "PosterizeIncreasing",
    "solarize": "SolarizeIncreasing",
    "solarize_add": "SolarizeAdd",
    "color": "ColorIncreasing",
    "contrast": "ContrastIncreasing",
    "brightness": "BrightnessIncreasing",
    "sharpness": "SharpnessIncreasing",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateXRel",
    "translate_y": "TranslateYRel",
}


def smooth_clip():
    coarse = torch.rand(3, 2, 5, 5, generator=torch.Generator().manual_seed(3))
    return (torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bicubic").clamp(0, 1) * 255).round()


def by_timm(clip, name, level, monkeypatch):
    """timm's operation on each frame, its random sign made the sign of `level`."""
    monkeypatch.setattr(random, "random", lambda: 0.0 if level > 0 else 1.0)
    level_to_argument = timm_ops.LEVEL_TO_ARG[name]
    arguments = level_to_argument(10 * abs(level), {}) if level_to_argument else ()
    options = {"resample": Image.Resampling.BILINEAR, "fillcolor": (ours.FILL,) * 3}
    frames = []
    for frame in clip.permute(1, 2, 3, 0).numpy().astype(np.uint8):
        frames.append(np.asarray(timm_ops.NAME_TO_OP[name](Image.fromarray(frame), *arguments, **options)))
    return torch.from_numpy(np.stack(frames)).permute(3, 0, 1, 2).float()


def test_the_operations_are_timms():
    assert [TIMM_NAMES[operation.__name__] for operation in ours.OPERATIONS] == timm_ops._RAND_INCREASING_TRANSFORMS


@pytest.mark.parametrize("level", [0.7, -0.7, 0.25, -0.95])
@pytest.mark.parametrize("operation", ours.OPERATIONS, ids=lambda operation: operation.__name__)
def test_an_operation_agrees_with_timm(operation, level, monkeypatch):
    clip = smooth_clip()
    expected = by_timm(clip, TIMM_NAMES[operation.__name__], level, monkeypatch)
    error = (operation(clip, level).clamp(0, 255) - expected).abs()
    assert error.mean() < 1.5, "on the average pixel"
    assert torch.quantile(error, 0.97) <= 3, "on all but pixels at the edge of what comes in from outside"
    assert (clip == smooth_clip()).all(), "the argument is left alone"


def test_operations_are_chosen_evenly_and_half_are_applied():
    clip = smooth_clip()
    used = []
    originals = ours.OPERATIONS

    def spy(operation):
        return lambda clip, level: used.append((operation.__name__, level)) or clip.clone()

    try:
        ours.OPERATIONS = tuple(spy(operation) for operation in originals)
        generator = torch.Generator().manual_seed(0)
        for _ in range(1500):
            ours.randaugment(clip[:, :, :2, :2], 4, 7, 0.5, generator)
    finally:
        ours.OPERATIONS = originals
    assert len(used) == pytest.approx(3000, rel=0.05)
    counts = np.unique([name for name, _ in used], return_counts=True)[1]
    assert len(counts) == 15
    assert counts.min() > 140
    levels = np.array([level for _, level in used])
    assert np.abs(levels).mean() == pytest.approx(0.7, abs=0.01)
    assert np.abs(levels).std() == pytest.approx(0.05, abs=0.01)
    assert (levels > 0).mean() == pytest.approx(0.5, abs=0.05)


def test_a_generator_determines_the_clip():
    def augmented(seed):
        return ours.randaugment(smooth_clip(), 4, 7, 0.5, torch.Generator().manual_seed(seed))

    assert torch.equal(augmented(1), augmented(1))
    assert len({augmented(seed).sum().item() for seed in range(20)}) > 10
    assert not any(math.isnan(augmented(seed).sum()) for seed in range(20))
