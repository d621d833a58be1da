"""From a device's name in params.yaml to the device."""

import torch


def device_named(name: str) -> torch.device:
    """The device `name` stands for.

    Args:
        name: ``auto`` (CUDA if present), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ValueError: If a CUDA device is asked for and there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"compute.device is {name}, but no CUDA device is present; use cpu or auto")
    return torch.device(name)
