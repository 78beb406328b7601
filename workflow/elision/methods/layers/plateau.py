"""A learning rate that falls when the validation score no longer improves."""

import torch
from torch import nn

_THRESHOLD = 1e-4


class Plateau(nn.Module):
    """Multiplier of the learning rate, as in PyTorch's ``ReduceLROnPlateau`` with its default threshold.

    Its state lies in buffers, so that an interrupted run goes on with it.

    Parameters
    ----------
    factor : float
        What the multiplier is multiplied by.
    patience : int
        Epochs without improvement (by a ten-thousandth of the best) that are tolerated.
    """

    def __init__(self, *, factor: float, patience: int) -> None:
        super().__init__()
        self.factor, self.patience = factor, patience
        self.register_buffer("reductions", torch.tensor(0))
        self.register_buffer("best", torch.tensor(torch.inf))
        self.register_buffer("bad_epochs", torch.tensor(0))

    @property
    def multiplier(self) -> float:
        """Multiplier of the learning rate."""
        return self.factor ** int(self.reductions)

    def step(self, score: float) -> None:
        """Take the score of an epoch; smaller is better."""
        if score < self.best.item() * (1 - _THRESHOLD):
            self.best.fill_(score)
            self.bad_epochs.zero_()
        else:
            self.bad_epochs += 1
        if self.bad_epochs > self.patience:
            self.reductions += 1
            self.bad_epochs.zero_()
