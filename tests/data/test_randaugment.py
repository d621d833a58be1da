"""The operations do to every frame what timm's do to an image, and a plan what its operations do in turn."""

import random
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import auto_augment as timm_ops
from torch.nn import functional as F

from hicmae_core.data import randaugment
from hicmae_core.data.randaugment import FILL, OPERATIONS, draw_plans, render
from hicmae_core.data.views import View

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


SIDE = 192


def smooth_clip(seed=3, side=SIDE):
    """``[T, S, S, 3]`` uint8."""
    coarse = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    fine = F.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1) * 255
    return fine.round().permute(0, 2, 3, 1).to(torch.uint8).contiguous()


def ours(clip, plan, view=None, size=SIDE):
    """A plan's result, ``[3, T, size, size]``."""
    ((_, _, pixels),) = render(clip[None], [plan], [view or View(0, 0, *clip.shape[1:3])], size)
    return pixels


def by_timm(clip, name, level):
    """timm's operation on each frame, its random sign made the sign of `level`."""
    name = TIMM_NAMES[name]
    level_to_argument = timm_ops.LEVEL_TO_ARG[name]
    with mock.patch.object(random, "random", return_value=0.0 if level > 0 else 1.0):
        arguments = level_to_argument(10 * abs(level), {}) if level_to_argument else ()
    options = {"resample": Image.Resampling.BILINEAR, "fillcolor": (int(FILL),) * 3}
    frames = []
    for frame in clip.numpy():
        frames.append(np.asarray(timm_ops.NAME_TO_OP[name](Image.fromarray(frame), *arguments, **options)))
    return torch.from_numpy(np.stack(frames))


def test_the_operations_are_timms():
    assert sorted(TIMM_NAMES[name] for name in OPERATIONS) == sorted(timm_ops._RAND_INCREASING_TRANSFORMS)


@pytest.mark.parametrize("level", [0.7, -0.7, 0.25, -0.95])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_agrees_with_timm(name, level):
    clip = smooth_clip()
    expected = by_timm(clip, name, level).permute(3, 0, 1, 2)
    error = (ours(clip, [(name, level)]) - expected).abs()
    assert error.mean() < 1.5, "on the average pixel"
    assert torch.quantile(error, 0.97) <= 3, "on all but pixels at the edge of what comes in from outside"
    assert (clip == smooth_clip()).all(), "the argument is left alone"


def in_turn(clip, plan, view, size):
    """timm's operations one after the other on whole frames, then the crop."""
    for name, level in plan:
        clip = by_timm(clip, name, level)
    region = clip[:, view.top : view.top + view.height, view.left : view.left + view.width].permute(3, 0, 1, 2).float()
    pixels = F.interpolate(region, (size, size), mode="bilinear")
    return pixels.flip(-1) if view.mirrored else pixels


@pytest.mark.parametrize("seed", range(4))
def test_a_plan_agrees_with_its_operations_in_turn(seed):
    """Many plans of four operations, each with a crop and a mirror image, once per seed."""
    generator = torch.Generator().manual_seed(seed)
    clip = smooth_clip(seed, side=96)
    errors = []
    for plan in draw_plans(40, 4, 7, 0.5, generator):
        top, left, height, width = (int(n) for n in torch.randint(20, 48, (4,), generator=generator))
        view = View(top, left, height, width, mirrored=bool(seed % 2))
        errors.append((ours(clip, plan, view, 40) - in_turn(clip, plan, view, 40)).abs().mean().item())
    assert np.median(errors) < 2
    assert np.quantile(errors, 0.9) < 8, "equalize and solarize make much of a level's difference"


SHIFTED = [("translate_x", 0.7), ("invert", 0.7)]


def test_what_comes_in_from_outside_takes_part_in_later_operations():
    clip = smooth_clip()
    before, after = (ours(clip, plan)[..., -1] for plan in (SHIFTED[::-1], SHIFTED))
    assert (before == FILL).all()
    assert (after == 255 - FILL).all()


@pytest.mark.parametrize("name", ["autocontrast", "equalize", "contrast"])
def test_statistics_are_those_of_the_whole_frame(name):
    clip = smooth_clip()
    view = View(8, 8, 24, 24)
    expected = ours(clip, [(name, 0.7)])[..., 8:32, 8:32]
    error = (ours(clip, [(name, 0.7)], view, 24) - expected).abs()
    assert error.max() < 1


def test_an_upright_view_agrees_with_its_resampling():
    clip = smooth_clip()
    view = View(5, 11, 41, 30, mirrored=True)
    turned = ours(clip, [("rotate", 0.0)], view, 48)  # goes the way of all warps, but moves nothing
    inner = (ours(clip, [], view, 48) - turned).abs()[..., 1:-1, 1:-1]  # at its edge a cut repeats its last pixel
    assert inner.max() < 1.01, "each axis is rounded to whole grey levels"


def test_operations_are_chosen_evenly_and_half_are_applied():
    plans = draw_plans(1500, 4, 7, 0.5, torch.Generator().manual_seed(0))
    used = [step for plan in plans for step in plan]
    assert len(used) == pytest.approx(3000, rel=0.05)
    counts = np.unique([name for name, _ in used], return_counts=True)[1]
    assert len(counts) == 15
    assert counts.min() > 140
    lengths = np.bincount([len(plan) for plan in plans], minlength=5) / 1500
    np.testing.assert_allclose(lengths, np.array([1, 4, 6, 4, 1]) / 16, atol=0.04)
    levels = np.array([level for _, level in used])
    assert np.abs(levels).mean() == pytest.approx(0.7, abs=0.01)
    assert np.abs(levels).std() == pytest.approx(0.05, abs=0.01)
    assert (levels > 0).mean() == pytest.approx(0.5, abs=0.05)


def test_a_generator_determines_the_plans():
    def plans(seed):
        return draw_plans(8, 4, 7, 0.5, torch.Generator().manual_seed(seed))

    assert plans(1) == plans(1)
    assert plans(1) != plans(2)


def test_pieces_of_a_clip_are_the_clip():
    clip = torch.cat([smooth_clip(seed) for seed in range(5)])  # ten frames, in pieces of four
    plan = [("shear_x", 0.7), ("equalize", 0.7), ("sharpness", -0.7)]
    frames = torch.empty(3, 10, 32, 32)
    for _, times, pixels in render(clip[None], [plan], [View(4, 4, 50, 40)], 32):
        frames[:, times] = pixels
    for number in range(10):
        alone = ours(clip[number : number + 1], plan, View(4, 4, 50, 40), 32)
        torch.testing.assert_close(frames[:, number : number + 1], alone)


def many(frames):
    """Clips under plans of all sorts, as one tensor ``[B, 3, T, 32, 32]``."""
    plans = draw_plans(len(frames), 4, 7, 0.5, torch.Generator().manual_seed(2))
    views = [View(8 + n, 30 - n, 150 - 5 * n, 100 + 5 * n, mirrored=n % 2 == 0) for n in range(len(frames))]
    result = torch.full((len(frames), 3, frames.shape[1], 32, 32), torch.nan)
    for clip, times, pixels in render(frames, plans, views, 32):
        result[clip, :, times] = pixels.cpu()
    return result


def differs(one, other):
    """By how many grey levels each clip differs, on average."""
    return (one - other).abs().mean((1, 2, 3, 4))


def test_clips_at_once_are_the_clips_one_by_one(monkeypatch):
    frames = torch.stack([smooth_clip(seed) for seed in range(12)])
    one_by_one = many(frames)
    monkeypatch.setattr(randaugment, "_one_by_one", lambda frames: False)
    assert differs(many(frames), one_by_one).max() < 1.5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_does_the_same():
    frames = torch.stack([smooth_clip(seed) for seed in range(12)])
    assert differs(many(frames.cuda()), many(frames)).max() < 1.5
