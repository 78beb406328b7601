"""The teacher of NMER and MEN: a network that has seen complete data.

Each modality has two encoders, one for what is specific to it and one for what is invariant between modalities. A head
that the modalities share follows the invariant ones, and the central moment discrepancy pulls its outputs together.

Follows the official code. It has two scripts for this network; these are the values of the one whose weights the
second network loads (``CAP_utt_shared_002``: dropout 0.2, 10 + 10 epochs, batches of 64), and not those of the one
that the README names, whose model file is gone. What differs here:

- The official teacher has one more term, 100 times the squared error between the specific vectors and the output
  of a diffusion network (a U-Net of 35.6 million parameters) that runs on the batch folded into an image. It needs
  batches of exactly 64, the paper does not have it, and its network is thrown away afterwards: it is left out.
- Equal moments have a gradient of 0.
- Padding takes no part in the maxima over time (``mask_padding: false`` gives it the part that it has there).
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
