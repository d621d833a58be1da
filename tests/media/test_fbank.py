import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from hicmae_core.data.tensors import normalise
from hicmae_core.media.waveform import log_mel


def speech_like(num_samples: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.1, num_samples)
    return (noise * (1 + np.sin(np.arange(num_samples) / 900))).astype(np.float32)


@pytest.mark.parametrize("index", range(4))
def test_agrees_with_the_authors(golden, index):
    numbers = load_file(golden / "fbank.safetensors")
    features = log_mel(numbers[f"wave.{index}"][0])[:256]
    padded = np.zeros((256, 128), np.float32)
    padded[: len(features)] = features
    np.testing.assert_allclose(normalise(torch.from_numpy(padded)), numbers[f"fbank.{index}"], atol=1e-5)


@pytest.mark.parametrize("start", [0, 1, 37, 311])
def test_a_window_of_the_clip_equals_the_cut_waveform(start):
    waveform = speech_like(16_000 * 5)
    cut = waveform[160 * start : 160 * start + 24_000]
    of_cut = log_mel(cut)
    np.testing.assert_allclose(log_mel(waveform)[start : start + len(of_cut)], of_cut, atol=2e-5)


def test_off_the_grid_it_does_not():
    waveform = speech_like(16_000)
    of_cut = log_mel(waveform[240:])
    assert np.abs(log_mel(waveform)[1 : 1 + len(of_cut)] - of_cut[: len(log_mel(waveform)) - 1]).mean() > 0.1


@pytest.mark.parametrize("gain", [0.5, 0.83, 1.5])
def test_gain_adds_twice_its_logarithm(gain):
    quiet, loud = log_mel(speech_like(16_000)), log_mel(gain * speech_like(16_000))
    above_floor = quiet > -15.9 + 2  # some of the lowest of the 128 bins are empty and always at the floor
    assert above_floor.mean() > 0.95
    np.testing.assert_allclose(loud[above_floor], quiet[above_floor] + 2 * np.log(gain), atol=1e-3)


def test_chunks_do_not_show(monkeypatch):
    waveform = speech_like(30_000)
    whole = log_mel(waveform)
    monkeypatch.setattr("hicmae_core.media.waveform._CHUNK_FRAMES", 50)
    np.testing.assert_allclose(log_mel(waveform), whole, atol=2e-5)


@pytest.mark.parametrize(("num_samples", "num_frames"), [(0, 0), (399, 0), (400, 1), (559, 1), (560, 2), (16_000, 98)])
def test_number_of_frames(num_samples, num_frames):
    assert log_mel(np.zeros(num_samples, np.float32)).shape == (num_frames, 128)
