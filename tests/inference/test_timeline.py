"""Where the windows of a timeline lie."""

import numpy as np
import pytest

from hicmae_core.inference.timeline import timeline


@pytest.mark.parametrize(("num_frames", "hop"), [(150, 1.0), (151, 0.4), (1000, 2.56), (65, 1.0), (5000, 0.16)])
def test_windows_cover_the_video_evenly(num_frames, hop):
    line = timeline(num_frames, num_frames * 640, 25.0, 16, 4, num_segments=2, hop_seconds=hop)
    starts = np.array([line.windows[index].frames[0] for index in line.line])
    assert starts[0] == 0
    assert num_frames - (starts[-1] + 64) < 4
    assert (starts % 4 == 0).all()
    assert np.diff(starts).max(initial=0) <= hop * 25 + 4
    assert len(starts) == len(set(starts))
    assert line.clip == [line.line[0], line.line[-1]]


def test_a_short_video_is_one_window():
    line = timeline(30, 30 * 640, 25.0, 16, 4, num_segments=2, hop_seconds=1.0)
    assert (len(line.windows), line.clip, line.line) == (1, [0, 0], [0])


def test_a_window_lasts_as_long_in_a_video_of_fifty_frames_a_second():
    usual = timeline(100, 64_000, 25.0, 16, 4, 2, 1.0).windows[0]
    fast = timeline(200, 64_000, 50.0, 16, 4, 2, 1.0).windows[0]
    assert fast.frames.tolist() == [2 * frame for frame in usual.frames]
    assert fast.audio_end - fast.audio_start == pytest.approx(usual.audio_end - usual.audio_start, abs=640)


def test_other_segments_than_the_line_s_are_judged_too():
    line = timeline(200, 200 * 640, 25.0, 16, 4, num_segments=3, hop_seconds=0)
    assert line.line == []
    assert line.clip == [0, 1, 2]
