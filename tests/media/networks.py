"""Small networks as ONNX files, whose weights are set by hand: they take a white tile of 32 x 32 pixels for a face."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

_FLOAT, _INT64 = 1, 7  # types of tensors
_INTS = 7  # type of an attribute
TILE = 32
FACE_SIDE = 64
"""Side of the box around the tile's centre, pixels."""


def write_yunet(path: Path) -> Path:
    """A network with the inputs and outputs of YuNet, which takes images of 0 to 255 of any size."""
    brightness = np.full((1, 3, TILE, TILE), 1 / (3 * TILE * TILE * 255))
    centre = [0.5, 0.5, math.log(FACE_SIDE / TILE), math.log(FACE_SIDE / TILE)]
    heads = {}
    for stride in (8, 16, 32):
        score = brightness if stride == TILE else np.zeros((1, 3, stride, stride))
        heads |= {f"{name}_{stride}": (score, [0.0]) for name in ("cls", "obj")}
        heads[f"bbox_{stride}"] = (np.zeros((4, 3, stride, stride)), centre)
        heads[f"kps_{stride}"] = (np.zeros((10, 3, stride, stride)), [0.5] * 10)
    path.write_bytes(_model(heads, (1, -1)))
    return path


def write_scrfd(path: Path) -> Path:
    """A network with the inputs and outputs of SCRFD, two anchors per cell, which takes images of -1 to 1."""
    brightness = np.full((2, 3, TILE, TILE), 1 / (3 * TILE * TILE))
    reach = [FACE_SIDE / 2 - TILE / 2, FACE_SIDE / 2 - TILE / 2, FACE_SIDE / 2 + TILE / 2, FACE_SIDE / 2 + TILE / 2]
    heads = {}
    for stride in (8, 16, 32):
        score = brightness if stride == TILE else np.zeros((2, 3, stride, stride))
        heads[f"score_{stride}"] = (score, [0.0, -0.2])
    for stride in (8, 16, 32):  # from the anchor, a cell's corner, to left, top, right and bottom in strides
        heads[f"bbox_{stride}"] = (np.zeros((8, 3, stride, stride)), [side / stride for side in reach] * 2)
    path.write_bytes(_model(heads, (-1,), {"score": 1, "bbox": 4}))
    return path


def _model(
    heads: Mapping[str, tuple[np.ndarray, list[float]]],
    leading: tuple[int, ...],
    widths: Mapping[str, int] | None = None,
) -> bytes:
    """One strided convolution per output, its channels last, reshaped to ``[*leading, width]``."""
    nodes, tensors, outputs = [], [], []
    for name, (weights, bias) in heads.items():
        width = widths[name.split("_")[0]] if widths else len(bias)
        tensors += [
            _tensor(f"{name}.weight", weights.astype(np.float32), _FLOAT),
            _tensor(f"{name}.bias", np.array(bias, np.float32), _FLOAT),
            _tensor(f"{name}.shape", np.array([*leading, width], np.int64), _INT64),
        ]
        stride = weights.shape[-1]
        square = {"kernel_shape": (stride, stride), "strides": (stride, stride)}
        nodes += [
            _node("Conv", ["input", f"{name}.weight", f"{name}.bias"], f"{name}.map", square),
            _node("Transpose", [f"{name}.map"], f"{name}.last", {"perm": (0, 2, 3, 1)}),
            _node("Reshape", [f"{name}.last", f"{name}.shape"], name, {}),
        ]
        outputs.append(_value(name, [*("n" * len(leading)), width]))
    graph = [*(_field(1, node) for node in nodes), _field(2, "tile"), *(_field(5, tensor) for tensor in tensors)]
    graph += [_field(11, _value("input", [1, 3, "height", "width"])), *(_field(12, output) for output in outputs)]
    return _field(1, 8) + _field(7, b"".join(graph)) + _field(8, _field(1, "") + _field(2, 13))


def _node(kind: str, inputs: Iterable[str], output: str, attributes: Mapping[str, tuple[int, ...]]) -> bytes:
    encoded = [
        _field(5, _field(1, name) + b"".join(_field(8, value) for value in values) + _field(20, _INTS))
        for name, values in attributes.items()
    ]
    return b"".join([*(_field(1, name) for name in inputs), _field(2, output), _field(4, kind), *encoded])


def _tensor(name: str, values: np.ndarray, kind: int) -> bytes:
    dims = b"".join(_field(1, length) for length in values.shape)
    return dims + _field(2, kind) + _field(8, name) + _field(9, values.tobytes())


def _value(name: str, shape: Iterable[int | str]) -> bytes:
    dims = b"".join(_field(1, _field(1 if isinstance(length, int) else 2, length)) for length in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, _FLOAT) + _field(2, dims)))


def _field(number: int, value: int | str | bytes) -> bytes:
    """A field of a protocol buffer."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    groups = []
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])
