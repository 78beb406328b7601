"""The teacher of NMER and MEN: a network that has seen complete data.

Each modality has two encoders, one for what is specific and one for what is invariant between modalities. The
modalities share a head behind the invariant encoders. The central moment discrepancy pulls the outputs of the head
together.

The file follows the official code, which has two scripts for this network. The values are those of
``CAP_utt_shared_002``, whose weights the second network loads: dropout 0.2, 10 + 10 epochs, batches of 64. The model
file of the other script, which the read-me names, is gone. What differs here:

- The official teacher has one more term, 100 times a squared error. The error lies between the specific vectors and
  the output of a diffusion network of 35.6 million parameters. The term needs batches of exactly 64, and the paper
  does not have it. The network is dropped after the training. The term is left out.
- Equal moments have a gradient of 0.
- Padding takes no part in the maxima over time. ``mask_padding: false`` lets padding take part, as in the official
  code.
- Scores are ours: the squared error in place of the cross-entropy.
"""

from itertools import combinations
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from elision.batch import Batch
from elision.methods.base import Prediction
from elision.methods.layers.mmin_family import (
    ORDER,
    WIDTH,
    Encoders,
    FamilyHyperparameters,
    FamilyMethod,
    InvariantHead,
    TeacherHyperparameters,
)
from elision.methods.layers.moments import central_moment_discrepancy
from elision.methods.layers.utterance import Classifier
from elision.task import DataSpec

FUSED = len(ORDER) * WIDTH


class NoiseHyperparameters(FamilyHyperparameters):
    """What NMER and MEN share: those of the official code of NMER for IEMOCAP."""

    constant_epochs: int = Field(40, ge=1, description="epochs at the full learning rate")
    decay_epochs: int = Field(40, ge=0, description="epochs during which the learning rate falls linearly")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in the classifier")


class TwoSpaces(FamilyMethod):
    """What the teacher, NMER and MEN share: specific and invariant encoders, and the head of the invariant ones."""

    inherits: ClassVar[tuple[str, ...]] = ("specific", "invariant", "shared")

    def __init__(self, hyperparameters: FamilyHyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        self.specific = Encoders(hyperparameters, spec)
        self.invariant = Encoders(hyperparameters, spec)
        self.shared = InvariantHead()

    def encode_invariant(self, batch: Batch) -> Tensor:
        """Return the invariant vectors of audio, text and vision side by side [B, 384]."""
        return self.shared(self.invariant(batch))

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the specific and the invariant vectors, each of audio, text and vision side by side [B, 384]."""
        return self.specific(batch), self.encode_invariant(batch)


class NMERTeacher(TwoSpaces):
    """Fan, Zuo, Liu, Lian and Gao, MRAC at ACM MM 2024: the teacher."""

    name = "nmer_teacher"
    error_of_scores = "squared"
    corruption = "complete"
    paper = (
        "Fan, Zuo, Liu, Lian, Gao: Learning Noise-Robust Joint Representation for Multimodal Emotion Recognition under "
        "Incomplete Data Scenarios. MRAC at ACM MM 2024, arXiv 2311.16114"
    )
    reads_text = "vectors"
    official_counts: ClassVar[dict[str, int]] = {"iemocap": 4_143_108}
    compared = "equal without the diffusion network (35,605,700)"
    small: ClassVar[dict] = {"dropout": 0.0, "text_dropout": 0.0}

    class Hyperparameters(TeacherHyperparameters):
        """Those of the official code for IEMOCAP."""

        batch_size: int = Field(64, ge=1, description="utterances per forward pass")
        dropout: float = Field(0.2, ge=0, lt=1, description="dropout in the classifier")

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "demo": {"constant_epochs": 6, "decay_epochs": 4, "batch_size": 16, "learning_rate": 1e-3}
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        self.classifier = Classifier(2 * FUSED, outputs=spec.outputs, dropout=hyperparameters.dropout)
        self.initialise()

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the specific and the invariant vectors."""
        representation = torch.cat(self.encode(batch), 1)
        return Prediction(self.readout(self.classifier(representation)), representation)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error and the discrepancy, the mean over the three pairs of modalities."""
        specific, invariant = self.encode(batch)
        output = self.readout(self.classifier(torch.cat([specific, invariant], 1)))
        pairs = combinations(invariant.split(WIDTH, 1), 2)
        return {
            "emotion": self.error(output, batch.label),
            "discrepancy": torch.stack([central_moment_discrepancy(p, q) for p, q in pairs]).mean(),
        }
