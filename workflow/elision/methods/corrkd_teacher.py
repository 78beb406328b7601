"""The teacher of CorrKD, built without the paper: the same network as the student, trained on complete data.

Each modality passes a convolution, positions and a transformer. The means of its steps over time, side by side, are
the joint vector, from which a linear layer predicts. ``corrkd`` says from what the methods were built.

Everything but these parts, their order and the width 40 is ours: depth, feed-forward layers, dropout and clipping are
those of HRLF, by the same authors. The descriptions join the sequences and then average them. Here each sequence is
averaged first, over its valid steps, which is the same where all modalities are as long as the text.

The descriptions know classes alone. A score keeps an output of its own, with the squared error. Beside it, a layer
predicts the sign of the score (``polarity``), with the cross-entropy: these two classes are what CorrKD compares. A
score of exactly 0 is positive.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Method, Prediction
from elision.methods.layers.precision import raised
from elision.methods.layers.sequence import SequenceHyperparameters, sequence_encoders
from elision.task import MODALITIES, DataSpec, TaskKind


@dataclass
class Responses:
    """What the network makes of a batch.

    Attributes
    ----------
    joint : Tensor [B, 3 d]
    output : Tensor [B] or [B, C]
    logits : Tensor [B, C]
        Of the classes: ``output`` itself, or those of negative and positive scores.
    """

    joint: Tensor
    output: Tensor
    logits: Tensor


class CorrKDTeacher(Method):
    """Li, Yang, Zhao et al., CVPR 2024: the teacher of CorrKD, on complete data.

    Where the parts are: the encoders of the modalities, ``sequences``; the joint vector, `represent`; the classifier,
    ``head``, and for scores ``polarity``; the loss of the task, the terms ``sentiment`` and ``polarity``.
    """

    name = "corrkd_teacher"
    known_from = "its abstract, the captions of its figures and descriptions by others"
    error_of_scores = "squared"
    corruption = "complete"
    paper = (
        "Li, Yang, Zhao, Wang, Wang, Yang, Sun, Kou, Qian, Zhang: Correlation-Decoupled Knowledge Distillation for "
        "Multimodal Sentiment Analysis with Incomplete Modalities. CVPR 2024, arXiv 2404.16456"
    )
    reads_text = "vectors"
    official_counts: ClassVar[dict[str, int]] = {"iemocap": 416_884}
    compared = "no code was released, and the depth is ours"
    small: ClassVar[dict] = {"width": 8, "heads": 2, "layers": 1, "dropout": 0.0}

    class Hyperparameters(SequenceHyperparameters):
        """Those that descriptions give for IEMOCAP, and those of HRLF."""

        epochs: int = Field(30, ge=0, description="passes over the training split; known at second hand")
        batch_size: int = Field(64, ge=1, description="utterances per forward pass; known at second hand")

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosi": {"epochs": 50},
        "mosei": {"epochs": 20, "batch_size": 32, "learning_rate": 2e-3, "heads": 8},
        "demo": {"epochs": 10, "batch_size": 8, "learning_rate": 1e-3, "layers": 2},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        self.sequences = sequence_encoders(hyperparameters, spec)
        width = 3 * hyperparameters.width
        self.head = nn.Linear(width, spec.outputs)
        if spec.task is TaskKind.REGRESSION:
            self.polarity = nn.Linear(width, 2)

    def represent(self, batch: Batch) -> Responses:
        """Read a batch as it is, complete or not."""
        means = []
        for name in MODALITIES:
            steps, attended = self.sequences[name].steps(getattr(batch, name))
            means.append((steps * attended[..., None]).sum(1) / attended.sum(1, keepdim=True))
        joint = torch.cat(means, 1)
        output = self.readout(self.head(joint))
        return Responses(joint, output, self.polarity(joint) if self.spec.task is TaskKind.REGRESSION else output)

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the joint vector."""
        found = self.represent(batch)
        return Prediction(found.output, found.joint)

    def categories(self, label: Tensor) -> Tensor:
        """Return the class [B] of each label: the label itself, or whether the score is at least 0."""
        return (label >= 0).long() if self.spec.task is TaskKind.REGRESSION else label

    def task_terms(self, found: Responses, label: Tensor) -> dict[str, Tensor]:
        """Return the loss of the task."""
        terms = {"sentiment": self.error(found.output, label)}
        if self.spec.task is TaskKind.REGRESSION:
            terms["polarity"] = F.cross_entropy(raised(found.logits), self.categories(label))
        return terms

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of the task."""
        return self.task_terms(self.represent(batch), batch.label)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam."""
        h = self.hyperparameters
        return [torch.optim.Adam(self.trainable(), lr=h.learning_rate, weight_decay=h.weight_decay)]
