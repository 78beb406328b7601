"""Error of what is rebuilt in the place of what is missing."""

from torch import Tensor
from torch.nn import functional as F

from elision.methods.layers.precision import float32

_EPSILON = 1e-6


@float32
def reconstruction_error(x: Tensor, target: Tensor, missing: Tensor) -> Tensor:
    """Return the mean smooth absolute error of [B, T, d] over the ``missing`` [B, T] positions; 0 without any."""
    mask = missing.unsqueeze(2).expand_as(x)
    return F.smooth_l1_loss(x * mask, target * mask, reduction="sum") / (mask.sum() + _EPSILON)
