"""Time sampling agrees with the authors' and stays inside the clip."""

import json

import numpy as np
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


def test_every_start_is_drawn():
    generator = np.random.default_rng(0)
    starts = {int(sampling.random_window(20, 12800, 4, 4, generator).frames[0]) for _ in range(200)}
    assert starts == set(range(8))


def test_one_segment_lies_in_the_middle():
    (window,) = sampling.test_windows(100, 64000, 16, 4, num_segments=1)
    assert window.frames[0] == 16
    assert window.frames[-1] == 76
