"""MEN: NMER without its autoencoder.

The specific and the invariant vectors of NMER's encoders are classified as they are. MEN is trained on noisy copies
of absent modalities, like NMER, and starts from the same teacher. A loss keeps the invariant vectors near those that
the teacher has of clean data.

NMER's authors compare with a model of this name. Their code plots its numbers but does not contain the model, and we
know of no description. The file is our reading, **NMER minus the autoencoder**, and its numbers are no replication of
theirs. The classifier has the input of the teacher (768 values). Batch normalisation and dropout are those of the
second network.

The authors' MEN lies far below MMIN. Their model may have had neither the teacher nor its invariant vectors:
``pretrained: false`` and ``invariant: false``. ``classifier_input: specific`` makes MEN close to the augmentation
baseline of MMIN's code, on noise. Batch normalisation and the training differ. The invariant encoders are left out
then, because nothing would train them.

Padding, noise, selection and scores are as in NMER.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Prediction
from elision.methods.layers.utterance import Classifier
from elision.methods.nmer_teacher import FUSED, NoiseHyperparameters, TwoSpaces
from elision.task import DataSpec


class MEN(TwoSpaces):
    """An ablation of Fan, Zuo, Liu, Lian and Gao, MRAC at ACM MM 2024, in our reading."""

    name = "men"
    error_of_scores = "squared"
    corruption = "noise"
    paper = (
        "Ablation, in our reading, of Fan, Zuo, Liu, Lian, Gao: Learning Noise-Robust Joint Representation for "
        "Multimodal Emotion Recognition under Incomplete Data Scenarios. MRAC at ACM MM 2024, arXiv 2311.16114"
    )
    needs = ("nmer_teacher",)
    needs_complete = True
    reads_text = "vectors"
    official_counts: ClassVar[dict[str, int]] = {"iemocap": 4_143_620}
    compared = "no code was released; NMER's without the autoencoder, with a classifier of 768 values"
    small: ClassVar[dict] = {"dropout": 0.0, "text_dropout": 0.0}

    class Hyperparameters(NoiseHyperparameters):
        """Those of the official code of NMER for IEMOCAP."""

        classifier_input: Literal["concat", "specific"] = Field(
            "concat",
            description="vectors that are classified. concat: specific and invariant ones. specific: the "
            "specific ones alone",
            json_schema_extra={"released": None},
        )
        pretrained: bool = Field(
            True, description="true starts from the encoders of the teacher", json_schema_extra={"released": None}
        )
        invariant: bool = Field(
            True,
            description="true keeps the invariant vectors near those that the teacher has of clean data",
            json_schema_extra={"released": None},
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "demo": {"constant_epochs": 6, "decay_epochs": 4, "batch_size": 16, "learning_rate": 1e-3}
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        self.concat = h.classifier_input == "concat"
        self.has_invariant = self.concat or h.invariant
        if not self.has_invariant:
            del self.invariant, self.shared
        started = self.inherits if self.has_invariant else ("specific",)
        self.inherits = started if h.pretrained else ()
        width = 2 * FUSED if self.concat else FUSED
        self.classifier = Classifier(width, outputs=spec.outputs, dropout=h.dropout, batch_norm=True)
        self.initialise()

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Return the specific and the invariant vectors [B, 384]; None for the latter, where they are left out."""
        return self.specific(batch), self.encode_invariant(batch) if self.has_invariant else None

    def fuse(self, specific: Tensor, invariant: Tensor | None) -> Tensor:
        """Return what is classified [B, 768], or [B, 384]."""
        return torch.cat([specific, invariant], 1) if self.concat else specific

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the vectors as they are."""
        representation = self.fuse(*self.encode(batch))
        return Prediction(self.readout(self.classifier(representation)), representation)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error, and the distance of the invariant vectors to the teacher's of the clean batch."""
        specific, invariant = self.encode(batch)
        output = self.readout(self.classifier(self.fuse(specific, invariant)))
        terms = {"emotion": self.error(output, batch.label)}
        if self.hyperparameters.invariant:
            with torch.no_grad():
                target = self.teacher.encode_invariant(batch.clean)
            terms["invariant"] = F.mse_loss(invariant, target)
        return terms
