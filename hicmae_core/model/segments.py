"""From a model's outputs for the temporal segments of a clip to those for the clip: the one rule, used wherever clips
are scored or predicted.

As the authors do, probabilities are averaged, not logits: the softmax of each segment, their mean, then the likeliest
class. A segment that the model is sure of then weighs no more than any other. Values of a regression are averaged as
they are.
"""

from __future__ import annotations

import math

from torch import Tensor


def average_segments(outputs: Tensor, num_classes: int) -> Tensor:
    """The outputs for clips from those for their segments.

    Args:
        outputs: Logits, or a regressor's outputs, ``[..., segments, num_outputs]``.
        num_classes: Of each target; 0 of a regression.

    Returns:
        ``[..., num_outputs]``: for classes the log of the averaged probabilities of each target, which takes the place
        of a clip's logits: its softmax gives the averaged probabilities, and a temperature
        (`hicmae_core.model.temperature`) divides it. For values their mean.
    """
    if not num_classes:
        return outputs.mean(dim=-2)
    by_target = outputs.unflatten(-1, (-1, num_classes)).log_softmax(dim=-1)  # [..., segments, targets, classes]
    return (by_target.logsumexp(dim=-3) - math.log(outputs.shape[-2])).flatten(-2)
