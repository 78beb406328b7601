"""Batch normalisation that can train on a batch of one sample."""

from torch import Tensor, nn
from torch.nn import functional as F


class BatchNorm(nn.BatchNorm1d):
    """``BatchNorm1d`` over vectors [B, d]; a single sample, which has no variance, is scaled by the running statistics.

    An epoch may end with a batch of one.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every dimension."""
        if len(x) > 1:
            return super().forward(x)
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
