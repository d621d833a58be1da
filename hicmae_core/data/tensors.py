"""What a store holds of a clip, JPEG face crops and log-mel features, as tensors."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import simplejpeg
import torch
from PIL import Image
from torch import Tensor

from hicmae_core.config import NUM_MEL_BINS
from hicmae_core.data.sampling import ClipWindow

FBANK_MEAN = -4.2677393
FBANK_SCALE = 2 * 4.5689974
"""A log-mel value x enters the model as (x - FBANK_MEAN) / FBANK_SCALE (AudioSet's mean and twice its std)."""

_HOP = 160  # samples from one log-mel frame to the next
_WINDOW = 400  # samples that a log-mel frame covers


def frame_size(jpegs: pa.Array) -> int:
    """The side of a clip's crops, pixels.

    Raises:
        ValueError: If the first one is damaged.
    """
    height, _, _, _ = simplejpeg.decode_jpeg_header(jpegs[0].as_py())
    return int(height)


def decode_frames(jpegs: pa.Array, indices: np.ndarray) -> Tensor:
    """The JPEGs at `indices` as ``[len(indices), S, S, 3]`` uint8 RGB; see `decode_into`."""
    size = frame_size(jpegs)
    frames = np.empty((len(indices), size, size, 3), np.uint8)
    decode_into(frames, jpegs, indices)
    return torch.from_numpy(frames)


def decode_into(out: np.ndarray, jpegs: pa.Array, indices: np.ndarray) -> None:
    """Decode the JPEGs at `indices`, ascending, to `out`, ``[len(indices), S, S, 3]`` uint8 RGB.

    Repeats, as at the end of a short clip, are decoded once. Crops are decoded at their full size: libjpeg-turbo's
    scaled transforms are slower but for powers of two, and a training crop needs the pixels. Those of a clip of another
    size than S are resized then.

    Raises:
        ValueError: If one is damaged, even where a decoder could guess, or is not as wide and high as the clip's first.
    """
    side, wanted = frame_size(jpegs), out.shape[1]
    for place, index in enumerate(indices):
        if place and index == indices[place - 1]:
            out[place] = out[place - 1]
            continue
        jpeg = jpegs[int(index)].as_py()
        height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
        if (height, width) != (side, side):
            raise ValueError(f"frame {index} is {width} x {height} pixels, not {side} x {side}")
        if side == wanted:
            simplejpeg.decode_jpeg(jpeg, "RGB", buffer=out[place])
        else:
            pixels = Image.fromarray(simplejpeg.decode_jpeg(jpeg, "RGB"))  # OpenCV comes with raw video only
            out[place] = pixels.resize((wanted, wanted), Image.Resampling.BILINEAR)


def fbank_window(fbank: np.ndarray, window: ClipWindow, num_audio_frames: int) -> Tensor:
    """The log-mel frames that lie inside a window, padded with zeros or cut, then normalised.

    Args:
        fbank: ``[frames, 128]`` un-normalised log-mel of the whole clip; frame k covers the samples
            ``[160 k, 160 k + 400)``.
        window: Its audio samples are snapped to that grid.
        num_audio_frames: Frames wanted.

    Returns:
        ``[num_audio_frames, 128]`` float32.
    """
    first = -(-window.audio_start // _HOP)
    end = min((window.audio_end - _WINDOW) // _HOP + 1, first + num_audio_frames, len(fbank))
    rows = torch.zeros(num_audio_frames, NUM_MEL_BINS)
    if end > first:
        rows[: end - first] = torch.from_numpy(fbank[first:end].astype(np.float32))
    return normalise(rows)


def normalise(log_mel: Tensor) -> Tensor:
    """Log-mel values as the model's input; padding comes before, so a missing frame is zeros *before* this."""
    return (log_mel - FBANK_MEAN) / FBANK_SCALE
