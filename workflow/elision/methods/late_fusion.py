"""Late fusion: a small network for each modality, and the mean of their scores.

No network sees another modality, and each learns from its own error on the samples that have the modality. The
prediction is the mean of the scores (for classes, of the logits) of the modalities that are present. A method that
fuses earlier should be better: the mean cannot learn what only several modalities tell together. The vector of a
modality is the mean of the observed frames, or of the observed text vectors. Where no modality is present, the
prediction is that of the training labels alone.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Method, Prediction
from elision.methods.layers.pooling import mean_observed
from elision.methods.layers.precision import float32
from elision.task import MODALITIES, DataSpec, TaskKind


class LateFusion(Method):
    """One hidden layer and one linear layer per modality.

    Attributes
    ----------
    prior : Tensor [outputs]
        Mean training label, or logarithms of the shares of the classes.
    """

    name = "late_fusion"
    floor = True
    reads_text = "vectors"
    error_of_scores = "squared"
    combines = False
    small: ClassVar[dict] = {"width": 8}

    class Hyperparameters(Method.Hyperparameters):
        """Usual values for a small network."""

        epochs: int = Field(50, ge=0, description="most passes over the training split")
        patience: int | None = Field(
            10, ge=1, description="epochs without a better validation score after which training stops"
        )
        learning_rate: float = Field(1e-3, gt=0, description="learning rate")
        weight_decay: float = Field(1e-2, ge=0, description="weight decay of AdamW")
        width: int = Field(64, ge=1, description="width of the hidden layer of each modality")
        dropout: float = Field(0.3, ge=0, lt=1, description="dropout on the hidden layers")

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h, widths = hyperparameters, {name: getattr(spec, name) for name in MODALITIES}
        self.hidden = nn.ModuleDict(
            {
                name: nn.Sequential(nn.LayerNorm(width), nn.Linear(width, h.width), nn.ReLU(), nn.Dropout(h.dropout))
                for name, width in widths.items()
            }
        )
        self.heads = nn.ModuleDict({name: nn.Linear(h.width, spec.outputs) for name in MODALITIES})
        self.register_buffer("prior", torch.zeros(spec.outputs))

    def begin_training(self, labels: Tensor) -> None:
        """Measure what the labels alone tell."""
        if self.spec.task is TaskKind.CLASSIFICATION:
            counts = (labels[:, None] == torch.arange(self.spec.outputs, device=labels.device)).sum(0)
            self.prior.copy_(((counts + 1) / (counts + 1).sum()).log())
        else:
            self.prior.fill_(labels.mean())

    def scores(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Score each modality by itself.

        Returns
        -------
        scores : Tensor [B, 3, outputs]
        present : Tensor [B, 3] bool
        hidden : Tensor [B, 3 * width]
            The hidden vectors side by side; zeros where a modality is absent.
        """
        means, present = zip(*(mean_observed(getattr(batch, name)) for name in MODALITIES), strict=True)
        hidden = [self.hidden[name](mean) for name, mean in zip(MODALITIES, means, strict=True)]
        scores = [self.heads[name](vector) for name, vector in zip(MODALITIES, hidden, strict=True)]
        seen = [vector * there for vector, there in zip(hidden, present, strict=True)]
        return torch.stack(scores, 1), torch.cat(present, 1), torch.cat(seen, 1)

    def predict(self, batch: Batch) -> Prediction:
        """Predict the mean of the scores of the modalities that are present."""
        scores, present, hidden = self.scores(batch)
        mean = (scores * present[..., None]).sum(1) / present.sum(1, keepdim=True).clamp(min=1)
        return Prediction(self.readout(torch.where(present.any(1, keepdim=True), mean, self.prior)), hidden)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean error of each modality over the samples that have it."""
        scores, present, _ = self.scores(batch)
        classes = self.spec.task is TaskKind.CLASSIFICATION
        return {
            name: mean_error(scores[:, i], batch.label, present[:, i], classes=classes)
            for i, name in enumerate(MODALITIES)
        }


@float32
def mean_error(scores: Tensor, label: Tensor, present: Tensor, *, classes: bool) -> Tensor:
    """Average the squared error, or the cross-entropy of classes, over the samples that are present; 0 without any.

    Parameters
    ----------
    scores : Tensor [B, outputs]
    label : Tensor [B]
    present : Tensor [B] bool
    classes : bool
    """
    of_each = F.cross_entropy(scores, label, reduction="none") if classes else (scores.squeeze(1) - label).square()
    return (of_each * present).sum() / present.sum().clamp(min=1)
