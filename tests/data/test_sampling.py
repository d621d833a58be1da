"""Time sampling agrees with the authors' and stays inside the clip."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicmae_core.data import sampling


def test_windows_are_the_authors(golden):
    for case in json.loads((golden / "test_time_sampling.json").read_text()):
        windows = sampling.test_windows(
            case["num_frames"], case["num_audio_samples"], case["clip_len"], case["stride"], case["num_segments"]
        )
        for window, plan in zip(windows, case["plan"], strict=True):
            assert window.frames.tolist() == plan["frames"]
            assert (window.audio_start, window.audio_end) == (plan["audio_start"], plan["audio_end"])


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 200), st.integers(1, 24), st.integers(1, 6), st.integers(0, 2**31))
def test_random_windows_stay_inside(num_frames, clip_length, stride, seed):
    num_samples = num_frames * 640
    window = sampling.random_window(num_frames, num_samples, clip_length, stride, np.random.default_rng(seed))
    assert len(window.frames) == clip_length
    assert window.frames[0] >= 0
    assert window.frames[-1] < num_frames
    steps = np.diff(window.frames)
    assert set(steps.tolist()) <= {0, stride}
    assert (np.diff(steps) <= 0).all()  # repeats only at the end
    assert 0 <= window.audio_start <= window.audio_end <= num_samples
    if num_frames > (clip_length - 1) * stride:
        assert (steps == stride).all()


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 400), st.integers(1, 24), st.integers(1, 6), st.integers(1, 5), st.floats(0.1, 5), st.integers(0, 99)
)
def test_windows_of_another_rate_stay_inside_and_are_evenly_spaced(
    num_frames, clip_length, stride, num_segments, rate, seed
):
    num_samples = round(num_frames / rate * 640)
    windows = sampling.test_windows(num_frames, num_samples, clip_length, stride, num_segments, rate)
    drawn = sampling.random_window(num_frames, num_samples, clip_length, stride, np.random.default_rng(seed), rate)
    for window in (*windows, drawn):
        assert len(window.frames) == clip_length
        assert 0 <= window.frames[0] <= window.frames[-1] < num_frames
        steps = np.diff(window.frames)
        assert set(steps.tolist()) <= {0, int(np.floor(stride * rate)), int(np.ceil(stride * rate))} or (
            window.frames[-1] == num_frames - 1
        )
        assert 0 <= window.audio_start <= window.audio_end <= num_samples
    gaps = np.diff([window.audio_start for window in windows])
    step = stride * num_samples / max(sampling.counted_frames(num_frames, rate) - 1, 1)
    assert np.ptp(gaps) <= step + 2 if len(gaps) else True


def test_a_clip_of_sixty_frames_a_second_is_sampled_as_at_twenty_five():
    stride = sampling.FrameStride(4, usual_fps=25.0)
    assert stride.rate(60.0) == 2.4
    (usual,) = sampling.test_windows(75, 48_000, 16, 4, 1)
    (fast,) = sampling.test_windows(180, 48_000, 16, 4, 1, 2.4)
    assert fast.frames.tolist() == [round(2.4 * frame) for frame in usual.frames]
    assert (fast.audio_start, fast.audio_end) == (usual.audio_start, usual.audio_end)


@pytest.mark.parametrize("usual", [24.0, 25.0, 30_000 / 1001, 30.0, 50.0, 60.0])
def test_rates_within_two_per_cent_are_one(usual):
    stride = sampling.FrameStride(4, usual_fps=usual)
    assert [stride.rate(usual * factor) for factor in (1, 1.001, 0.999, 1.0199, 0.9801)] == [1.0] * 5
    assert stride.rate(1.04 * usual) == 1.04
    assert sampling.FrameStride(4, "frames", usual).rate(3 * usual) == 1.0


def test_a_model_that_does_not_say_counts_frames_of_thirty_a_second():
    assert sampling.FrameStride.of_model({}) == sampling.FrameStride(4, "seconds", 30.0)
    assert sampling.FrameStride.of_model({"frame_stride": 3}).frames == 3
    stride = sampling.FrameStride(8, "frames", 25.0)
    assert sampling.FrameStride.of_model(stride.metadata) == stride


def test_every_start_is_drawn():
    generator = np.random.default_rng(0)
    starts = {int(sampling.random_window(20, 12800, 4, 4, generator).frames[0]) for _ in range(200)}
    assert starts == set(range(8))


def test_one_segment_lies_in_the_middle():
    (window,) = sampling.test_windows(100, 64000, 16, 4, num_segments=1)
    assert window.frames[0] == 16
    assert window.frames[-1] == 76
