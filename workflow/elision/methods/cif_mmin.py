"""CIF-MMIN: MMIN with a modality-invariant feature from contrastive learning.

A cascade of autoencoders imagines the missing modalities. An invariant vector is added to the input of every block,
as in IF-MMIN. Here that vector comes from encoders of its own, which the teacher has trained with a contrastive loss.
The sum of imagined and available vectors is classified.

The file follows the official code and its configurations. The code has what the paper does not mention:

- Text has convolutions in the first set of encoders and an LSTM in the second.
- The projections between the second encoders and the contrastive loss are dropped after the teacher.
- The configured weight decay never reaches the optimizer.
- The released code imports a module that is not there, uses nothing of it, and fails.

What differs here:

- The LSTM of text is pooled by its maximum, as in the teacher. The official code leaves an argument out and reads the
  last hidden state. Its teacher, which is the target, reads the maximum (``text_pool: last``).
- Padding takes no part in the maxima over time. ``mask_padding: false`` lets padding take part, as in the official
  code; the teacher has a switch of its own.
- The official code keeps the epoch with the best UA on validation. On MSP-IMPROV the code keeps that of the best
  macro F1. On MOSI, the method keeps that of the least absolute error, and its teacher that of the best F1. Here
  ``train.selection`` chooses, as for every method.
- On MSP-IMPROV, the teacher of the official code reads raw audio, and the method reads scaled audio. Here both read
  the same audio (``standardise`` of the dataset).
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Prediction
from elision.methods.layers.imagination import InvariantAutoencoder
from elision.methods.layers.mmin_family import WIDTH, Encoders, FamilyHyperparameters, FamilyMethod
from elision.methods.layers.utterance import Classifier, LSTMEncoder
from elision.task import DataSpec, TaskKind


class CIFMMIN(FamilyMethod):
    """Liu, Zuo, Lian, Schuller and Li, IEEE Transactions on Affective Computing 2024."""

    name = "cif_mmin"
    error_of_scores = "squared"
    corruption = "absent"
    needs = ("cif_mmin_teacher",)
    needs_complete = True
    inherits = ("encoders", "contrastive")
    paper = (
        "Liu, Zuo, Lian, Schuller, Li: Contrastive Learning Based Modality-Invariant Feature Acquisition for Robust "
        "Multimodal Emotion Recognition With Missing Modalities. IEEE TAFFC 15(4), 2024"
    )
    reads_text = "vectors"
    official_counts: ClassVar[dict[str, int]] = {"iemocap": 4_723_652}
    compared = (
        "equal without the temperature (1) that no optimizer trains; on its MOSI files (768, 74, 47) 3,831,233, "
        "equal, too"
    )
    # Five blocks put out numbers so large that rounding shows; sixty steps are too few for a short memory of gradients.
    small: ClassVar[dict] = {"blocks": 1, "layers": (128, 64), "beta1": 0.9, "dropout": 0.0, "text_dropout": 0.0}

    class Hyperparameters(FamilyHyperparameters):
        """Those of the released configurations for IEMOCAP and MOSI."""

        constant_epochs: int = Field(20, ge=1, description="epochs at the full learning rate")
        decay_epochs: int = Field(20, ge=0, description="epochs during which the learning rate falls linearly")
        batch_size: int = Field(64, ge=1, description="utterances per forward pass")
        layers: tuple[int, ...] = Field(
            (256, 128, 64), min_length=1, description="widths of the encoder of an autoencoder"
        )
        blocks: int = Field(5, ge=1, description="residual autoencoders of the cascade")
        imagination_weight: float = Field(
            8.0, ge=0, description="weight of the distance from the vectors of the teacher"
        )
        invariant_weight: float = Field(
            100.0, ge=0, description="weight of the distance from the invariant vectors of the teacher"
        )
        text_pool: Literal["maximum", "last"] = Field(
            "maximum",
            description="hidden states that make the invariant vector of text. maximum: their maximum, as in "
            "the target. last: the last one",
            json_schema_extra={"released": "last"},
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "msp": {"learning_rate": 5e-4},
        "demo": {"constant_epochs": 5, "decay_epochs": 5, "batch_size": 16, "learning_rate": 1e-3},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        self.encoders = Encoders(h, spec)
        self.contrastive = Encoders(h, spec, LSTMEncoder(spec.text, WIDTH, h.mask_padding, h.text_pool))
        self.imagination = InvariantAutoencoder(3 * WIDTH, h.layers, h.blocks, residual=True)
        # The official code predicts scores with a narrower second layer than classes.
        hidden = (128, 64) if spec.task is TaskKind.REGRESSION else (128, 128)
        self.classifier = Classifier(3 * WIDTH, hidden, spec.outputs, h.dropout)
        self.initialise()

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the sum of what is available and what is imagined."""
        fused = self.encoders(batch)
        imagined, _ = self.imagination(fused, self.contrastive(batch))
        completed = fused + imagined
        return Prediction(self.readout(self.classifier(completed)), completed)

    @torch.no_grad()
    def invariant_target(self, batch: Batch) -> Tensor:
        """Return the teacher's invariant vectors of the complete input [B, 384]."""
        return self.teacher.contrastive(batch.clean)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error of the prediction, of the imagined vectors, and of the invariant ones."""
        h = self.hyperparameters
        fused, invariant = self.encoders(batch), self.contrastive(batch)
        imagined, _ = self.imagination(fused, invariant)
        output = self.readout(self.classifier(fused + imagined))
        return {
            "emotion": self.error(output, batch.label),
            "imagination": h.imagination_weight * F.mse_loss(imagined, self.missing_target(batch)),
            "invariant": h.invariant_weight * F.mse_loss(invariant, self.invariant_target(batch)),
        }
