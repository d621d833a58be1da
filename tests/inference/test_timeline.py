"""Where the windows of a timeline lie."""

import numpy as np
import pytest

from hicmae_core.data.sampling import FrameStride
from hicmae_core.inference.windows import timeline

STRIDE = FrameStride(4, usual_fps=25.0)


@pytest.mark.parametrize(("num_frames", "hop"), [(150, 1.0), (151, 0.4), (1000, 2.56), (65, 1.0), (5000, 0.16)])
def test_windows_cover_the_video_evenly(num_frames, hop):
    line = timeline(num_frames, num_frames * 640, 25.0, 16, STRIDE, num_segments=2, hop_seconds=hop)
    starts = np.array([line.windows[index].frames[0] for index in line.line])
    assert starts[0] == 0
    assert num_frames - (starts[-1] + 64) < 4
    assert (starts % 4 == 0).all()
    assert np.diff(starts).max(initial=0) <= hop * 25 + 4
    assert len(starts) == len(set(starts))
    assert line.clip == [line.line[0], line.line[-1]]


def test_a_short_video_is_one_window():
    line = timeline(30, 30 * 640, 25.0, 16, STRIDE, num_segments=2, hop_seconds=1.0)
    assert (len(line.windows), line.clip, line.line) == (1, [0, 0], [0])


@pytest.mark.parametrize("fps", [8, 12.5, 24, 29.97, 30, 48, 50, 59.94, 60, 120])
def test_windows_are_the_same_in_seconds_at_any_frame_rate(fps):
    usual = timeline(100, 64_000, 25.0, 16, STRIDE, 2, 1.0)
    other = timeline(round(4 * fps), 64_000, fps, 16, STRIDE, 2, 1.0)
    assert (other.clip, other.line) == (usual.clip, usual.line)
    for one, two in zip(usual.windows, other.windows, strict=True):
        assert (one.audio_start, one.audio_end) == (two.audio_start, two.audio_end)
        assert two.frames / fps == pytest.approx(one.frames / 25, abs=0.501 / fps)


def test_every_window_of_a_slow_video_is_kept_though_it_shows_the_same_frames():
    line = timeline(40, 160_000, 4.0, 4, FrameStride(1, usual_fps=25.0), num_segments=2, hop_seconds=0.04)
    starts = [window.audio_start for window in line.windows]
    assert len(set(starts)) == len(starts) == 247
    assert line.clip == [0, 246]


def test_other_segments_than_the_line_s_are_judged_too():
    line = timeline(200, 200 * 640, 25.0, 16, STRIDE, num_segments=3, hop_seconds=0)
    assert line.line == []
    assert line.clip == [0, 1, 2]
