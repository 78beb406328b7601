"""AE: an autoencoder that completes the input and classifies what it has made.

Each modality becomes a vector, zeros where it is missing. An autoencoder completes the three side by side; from its
output one head predicts the label, and decoders rebuild the input of the modalities that were missing.

This is the baseline in the official code of GCNet (Lian et al., TPAMI 2023, arXiv 2203.02177). AE stands for no paper
of its own: the baseline goes back to the denoising autoencoder. What the same name means in the official code of MMIN,
with a teacher and a second autoencoder for the way back, is left out. Where this differs from the official code:

- What is missing is drawn anew for every epoch, not once for the whole training, and epochs are chosen on a validation
  split, not on the test split.
- The weight of the reconstruction is that of the script, not of the read-me (0.2). As there, the error is summed over
  the batch, so that a small batch has a small weight (``recon_reduction: mean`` gives any batch that of the official
  256 utterances).
- It reads sequences, too: their mean over time is the vector of the utterance. Lost frames count in it as zeros, as in
  the official code, where what is missing is zeros; padding does not count.
- A modality that an utterance never had is not rebuilt.

Text is not standardised by the workflow; audio and vision are. The error is divided by the width of each modality, but
not by its variance: vectors of text with large values dominate it.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from elision.batch import Batch, Sequence
from elision.methods.base import Prediction
from elision.methods.layers.imagination import PlainAutoencoder
from elision.methods.layers.mmin_family import ORDER, WIDTH, AdamHyperparameters, FamilyMethod
from elision.methods.layers.utterance import Classifier
from elision.task import MODALITIES, DataSpec

_HIDDEN = (128, 128)
_OFFICIAL_BATCH = 256


def mean_over_time(sequence: Sequence) -> Tensor:
    """Average the valid frames, lost ones included [B, d]; without any, zeros."""
    valid = sequence.valid.unsqueeze(2)
    return (sequence.values * valid).sum(1) / valid.sum(1).clamp(min=1)


class AE(FamilyMethod):
    """Baseline of Lian et al., TPAMI 2023."""

    name = "ae"
    error_of_scores = "squared"
    corruption = "absent"
    paper = (
        "Autoencoder baseline of Lian, Chen, Sun, Liu, Tao: GCNet: Graph Completion Network for Incomplete Multimodal "
        "Learning in Conversation. TPAMI 2023, arXiv 2203.02177"
    )
    official_counts: ClassVar[dict[str, int]] = {"iemocap": 1_010_780}
    compared = "equal; at GCNet's sizes (1024, 512, 1024) 1,284,228, equal, too"
    # With official weights near 0, a rate as high as in the tests ends in a last ReLU that is 0 for every sample.
    small: ClassVar[dict] = {"dropout": 0.0, "initialisation": "kaiming"}

    class Hyperparameters(AdamHyperparameters):
        """Those of the official script; it tries weights of 0.002, 0.003 and 0.01 on each dataset."""

        constant_epochs: int = Field(20, ge=1, description="epochs at the full learning rate")
        decay_epochs: int = Field(80, ge=0, description="epochs during which the learning rate falls linearly")
        batch_size: int = Field(256, ge=1, description="utterances per forward pass")
        learning_rate: float = Field(1e-3, gt=0, description="learning rate of Adam before the rate falls")
        clip: float = Field(5.0, gt=0, description="largest norm of the gradient of each sub-network")
        initialisation: Literal["kaiming", "normal"] = Field(
            "normal",
            description="distribution of the initial weights. kaiming: Kaiming-normal. normal: deviation init_gain",
        )
        init_gain: float = Field(
            0.02, gt=0, description="standard deviation of the initial weights, for initialisation: normal"
        )
        dropout: float = Field(0.5, ge=0, lt=1, description="dropout in encoders, decoders and classifier")
        layers: tuple[int, ...] = Field((256, 128), min_length=1, description="widths of the encoder of an autoencoder")
        reconstruction_weight: float = Field(
            0.01, ge=0, description="weight of the reconstruction error of missing modalities"
        )
        recon_reduction: Literal["sum", "mean"] = Field(
            "sum",
            description="reduction of the reconstruction error. sum: sum over the batch. mean: 256 times the "
            "mean, the weight that a batch of 256 has",
            json_schema_extra={"released": "sum"},
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        # Few steps: the official weights, near 0, would still be where they started.
        "demo": {
            "constant_epochs": 20,
            "decay_epochs": 10,
            "batch_size": 8,
            "recon_reduction": "mean",
            "initialisation": "kaiming",
            "dropout": 0.3,
        }
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        dropout, widths = hyperparameters.dropout, {name: getattr(spec, name) for name in ORDER}
        fused = WIDTH * len(ORDER)
        self.encoders = nn.ModuleDict({name: Classifier(widths[name], _HIDDEN, WIDTH, dropout) for name in ORDER})
        self.autoencoder = self.make_autoencoder(fused)
        self.decoders = nn.ModuleDict({name: Classifier(fused, _HIDDEN, widths[name], dropout) for name in ORDER})
        self.classifier = Classifier(fused, _HIDDEN, spec.outputs, dropout)
        self.initialise()

    def make_autoencoder(self, width: int) -> nn.Module:
        """Return what completes the fused vector: ``autoencoder(x [B, width]) -> (output [B, width], latent)``."""
        return PlainAutoencoder(width, self.hyperparameters.layers)

    def complete(self, batch: Batch) -> Tensor:
        """Encode what is observed and complete it [B, 3 * WIDTH]."""
        fused = torch.cat([self.encoders[name](mean_over_time(getattr(batch, name))) for name in ORDER], 1)
        return self.autoencoder(fused)[0]

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the completed vector."""
        completed = self.complete(batch)
        return Prediction(self.readout(self.classifier(completed)), completed)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error of the prediction and that of what was missing."""
        completed = self.complete(batch)
        output = self.readout(self.classifier(completed))
        return {
            "sentiment": self.error(output, batch.label),
            "reconstruction": self.hyperparameters.reconstruction_weight * self.reconstruction_error(completed, batch),
        }

    def reconstruction_error(self, completed: Tensor, batch: Batch) -> Tensor:
        """Sum the squared errors of the modalities that were missing, divided by their widths."""
        missing, errors = ~self.available(batch), []
        for column, name in enumerate(MODALITIES):
            clean = getattr(batch.clean, name)
            error = (self.decoders[name](completed) - mean_over_time(clean)).square().mean(1)
            errors.append(error * (missing[:, column] & clean.valid.any(1)))
        total = torch.stack(errors).sum()
        return total if self.hyperparameters.recon_reduction == "sum" else total * (_OFFICIAL_BATCH / len(batch))
