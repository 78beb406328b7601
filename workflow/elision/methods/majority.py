"""The majority class: one answer, whatever the input.

A method that ignores its input reaches this result, which is the floor of every table. The accuracy is the share
``a`` of the majority class. The weighted F1 is 2 a^2 / (1 + a).
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from elision.batch import Batch
from elision.methods.base import Method, Prediction, TrainingHyperparameters
from elision.task import CORPORA, DataSpec, TaskKind

_SIMS_BORDERS = torch.tensor([-0.7, -0.1, 0.1, 0.7])
_GRID = 60


class Majority(Method):
    """The best constant of the training labels.

    It is of the majority class among two classes, then of the largest of the finest classes (seven, or five on SIMS),
    and among those constants the one with the least absolute error. The median has the least absolute error of all,
    but may lie in a minority class: where most labels are 0 or slightly positive, the median 0 counts as negative in
    the accuracy that leaves neutral labels out, and the accuracy of a constant would not be the majority share.

    Of classes, it is the one with the most training samples.
    """

    name = "majority"
    floor = True
    own_epochs = True
    reads_text = "nothing"

    class Hyperparameters(TrainingHyperparameters):
        """Nothing is optimised."""

        epochs: int = Field(0, ge=0, le=0, description="always 0: the method finds its constant before the first epoch")

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        self.register_buffer("constant", torch.zeros(spec.outputs))

    def begin_training(self, labels: Tensor) -> None:
        """Find the constant."""
        if self.spec.task is TaskKind.CLASSIFICATION:
            self.constant.copy_(torch.bincount(labels.cpu(), minlength=self.spec.outputs) / len(labels))
        else:
            self.constant.fill_(majority_constant(labels.cpu(), corpus=self.spec.corpus))

    def predict(self, batch: Batch) -> Prediction:
        """Predict the constant."""
        constant = self.constant.expand(len(batch), -1).clone()
        return Prediction(self.readout(constant), constant)


def majority_constant(labels: Tensor, *, corpus: str) -> float:
    """Return the constant that is best in two-class accuracy, then in the finest accuracy, then in absolute error.

    Constants are tried in steps of a sixtieth of the label range. On MOSI, a score of exactly 0 counts as negative
    among negative and positive, and as non-negative among negative and non-negative (the two readings are added).

    Parameters
    ----------
    labels : Tensor [N]
    corpus : str
        Key of ``CORPORA``: says the label range and how scores are binned.
    """
    corpus = CORPORA[corpus]
    constants = torch.arange(-_GRID, _GRID + 1)[:, None] / _GRID * corpus.label_range
    labels = labels.to(torch.float32)[None]
    error = (constants - labels).abs().mean(1)
    if corpus.metrics == "sims":
        coarse = ((constants > 0) == (labels > 0)).sum(1)
        fine = (torch.bucketize(constants, _SIMS_BORDERS) == torch.bucketize(labels, _SIMS_BORDERS)).sum(1)
    else:
        polar = ((constants > 0) == (labels > 0)) & (labels != 0)
        coarse = polar.sum(1) + ((constants >= 0) == (labels >= 0)).sum(1)
        fine = (constants.round() == labels.clamp(-corpus.label_range, corpus.label_range).round()).sum(1)
    ranked = sorted(zip(coarse.tolist(), fine.tolist(), (-error).tolist(), constants[:, 0].tolist(), strict=True))
    return ranked[-1][3]
