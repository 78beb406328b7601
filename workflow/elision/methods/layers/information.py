"""How much features of a teacher and of a student tell of each other: a bound that a small network estimates."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elision.methods.layers.precision import float32


def perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Build two linear layers with a ReLU between them."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class StatisticsNetwork(nn.Module):
    """T (HRLF, section 3.4): scores whether features of teacher and student belong to the same sample.

    Parameters
    ----------
    inputs, hidden : int
        Of the features of each, and of the two hidden layers.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * inputs, hidden), nn.ReLU(), *perceptron(hidden, hidden, 1))

    def forward(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return a score [B] of each pair of rows [B, inputs]."""
        return self.layers(torch.cat([teacher, student], 1)).squeeze(1)

    def information(self, teacher: Tensor, student: Tensor, strangers: int) -> Tensor:
        """Bound the mutual information of features [B, inputs] of the same samples from below.

        Parameters
        ----------
        teacher, student : Tensor [B, inputs]
        strangers : int
            How many others stand for the product of the marginal distributions, for each sample.
        """
        # In a shuffled batch, moving on pairs each sample with random others.
        others = [self(teacher.roll(places, 0), student) for places in range(1, strangers + 1)]
        return information_bound(self(teacher, student), torch.cat(others))


@float32
def information_bound(joint: Tensor, marginal: Tensor) -> Tensor:
    """Jensen-Shannon bound (HRLF, equation 7): E[-softplus(-T)] of pairs of one sample, minus E[softplus(T)] of others.

    Parameters
    ----------
    joint, marginal : Tensor [N]
        Scores T of pairs of one sample, and of pairs of different samples.

    Returns
    -------
    Tensor []
        At most 0; -2 log 2 where no score says anything.
    """
    return -F.softplus(-joint).mean() - F.softplus(marginal).mean()
