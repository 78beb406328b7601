"""AE: an autoencoder that completes the input and classifies what it has made.

Each modality becomes a vector, and a missing modality becomes zeros. An autoencoder completes the three vectors side
by side. A head predicts the label from the output. Decoders rebuild the input of the missing modalities from the same
output.

The method is the baseline in the official code of GCNet (Lian et al., TPAMI 2023, arXiv 2203.02177). AE has no paper
of its own, and goes back to the denoising autoencoder. MMIN's official code has another method of this name, with a
teacher and a second autoencoder; that method is left out. Departures from the official code:

- A set of modalities is missing from a training sample. All sets have equal chances, and the empty set is one of them
  (``train.with_complete``). GCNet loses modalities at one rate and keeps at least one view of each sample.
- Masks are drawn anew for every epoch. GCNet draws them once for the whole training.
- Epochs are chosen by UA on a validation split. GCNet chooses them by weighted F1 on the test split.
- GCNet averages the vision features of both people of a dialogue. Here vision is that of the speaker.
- The reconstruction has the weight of the script, and not that of the read-me (0.2). The error is summed over the
  batch, as in the official code, so that a small batch has a small weight. ``recon_reduction: mean`` gives any batch
  the weight of the official 256 utterances.
- Sequences are read, too: their mean over time is the vector of the utterance. Lost frames count as zeros, as in the
  official code. Padding does not count.
- A modality that an utterance never had is not rebuilt.

Two values of the released scripts are switches. The released weights start with the deviation 0.02 (``initialisation:
normal``, ``init_gain``). At GCNet's sizes, the first logits of standardised utterances then deviate from each other by
2e-7 (``ae``) and 8e-6 (``cra``). Training needs hundreds of steps before the output depends on the input, and small
datasets never get there. The released dropout of 0.5 acts on six layers, one after the other (``dropout``). On two
folds of RAVDESS (WA of the linear probe: 60.6), AE has 25.2 as released, and 48.3 with ``initialisation: kaiming``.
With ``dropout: 0.3`` and complete samples in training, too, AE has 56.9. Kaiming's weights are too large for the
cascade of ``cra``: its first logits have a deviation of 59, and training ends in a constant. With ``lecun``, the
deviations are 0.03 and 0.14, and ``ae`` is as good as with ``kaiming``.

The workflow never scales text. The error is divided by the width of each modality, but not by its variance. Text
vectors with large values therefore dominate the error.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from elision.batch import Batch
from elision.methods.base import Prediction
from elision.methods.layers.imagination import PlainAutoencoder
from elision.methods.layers.mmin_family import INITIALISATION, ORDER, WIDTH, AdamHyperparameters, FamilyMethod
from elision.methods.layers.utterance import Classifier, mean_over_time
from elision.task import MODALITIES, DataSpec

_HIDDEN = (128, 128)
_OFFICIAL_BATCH = 256


class AE(FamilyMethod):
    """Baseline of Lian et al., TPAMI 2023."""

    name = "ae"
    error_of_scores = "squared"
    corruption = "absent"
    needs_complete = True
    paper = (
        "Autoencoder baseline of Lian, Chen, Sun, Liu, Tao: GCNet: Graph Completion Network for Incomplete Multimodal "
        "Learning in Conversation. TPAMI 2023, arXiv 2203.02177"
    )
    reads_text = "vectors"
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
        initialisation: Literal["kaiming", "lecun", "normal"] = Field(
            "lecun", description=INITIALISATION, json_schema_extra={"released": "normal"}
        )
        init_gain: float = Field(
            0.02, gt=0, description="standard deviation of the initial weights, for initialisation: normal"
        )
        dropout: float = Field(
            0.3,
            ge=0,
            lt=1,
            description="dropout in encoders, decoders and classifier, one after the other",
            json_schema_extra={"released": 0.5},
        )
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
        # Few steps: larger initial weights need fewer.
        "demo": {
            "constant_epochs": 20,
            "decay_epochs": 10,
            "batch_size": 8,
            "recon_reduction": "mean",
            "initialisation": "kaiming",
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
