"""MMIN: missing modality imagination network.

Encoders read the modalities; a missing modality is zeros. A cascade of residual autoencoders imagines what the
encoders of the teacher make of the missing modalities. A second cascade goes back from there to the available
modalities. The bottlenecks of the first cascade are classified.

The file follows the official code and its configurations. Where code and paper differ, the file follows the code:

- The target holds the missing modalities alone. The teacher reads zeros for the available ones. The answer of the
  teacher to zeros is not zero, and is part of the target.
- The configured weight decay never reaches the optimizer.
- On MSP-IMPROV, one cascade serves both ways (``tied``).

What differs here:

- Padding takes no part in the maxima over time. ``mask_padding: false`` lets padding take part, as in the official
  code; the teacher has a switch of its own.
- The official code keeps the epoch with the best UA on validation, or with the best macro F1 on MSP-IMPROV. Here
  ``train.selection`` chooses, as for every method.
- Scores are ours: the squared error in place of the cross-entropy.
"""

from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Prediction
from elision.methods.layers.imagination import ResidualAutoencoder
from elision.methods.layers.mmin_family import WIDTH, Encoders, FamilyHyperparameters, FamilyMethod
from elision.methods.layers.utterance import Classifier
from elision.task import DataSpec


class CycleHyperparameters(FamilyHyperparameters):
    """What MMIN and its variant with a plain autoencoder have."""

    layers: tuple[int, ...] = Field((256, 128, 64), min_length=1, description="widths of the encoder of an autoencoder")
    imagination_weight: float = Field(4.0, ge=0, description="weight of the distance from the vectors of the teacher")
    cycle_weight: float = Field(
        2.0, ge=0, description="weight of the distance of the way back from the available vectors"
    )


class MMIN(FamilyMethod):
    """Zhao, Li and Jin, ACL 2021."""

    name = "mmin"
    error_of_scores = "squared"
    corruption = "absent"
    needs = ("mmin_teacher",)
    needs_complete = True
    paper = (
        "Zhao, Li, Jin: Missing Modality Imagination Network for Emotion Recognition with Uncertain Missing "
        "Modalities. ACL 2021"
    )
    reads_text = "vectors"
    official_counts: ClassVar[dict[str, int]] = {"iemocap": 5_444_228}
    compared = "equal; on MSP-IMPROV (`tied`) 3,749,828"
    # Five blocks put out numbers so large that rounding shows; sixty steps are too few for a short memory of gradients.
    small: ClassVar[dict] = {"blocks": 1, "layers": (128, 64), "beta1": 0.9, "dropout": 0.0, "text_dropout": 0.0}

    class Hyperparameters(CycleHyperparameters):
        """Those of the released configuration for IEMOCAP."""

        blocks: int = Field(5, ge=1, description="residual autoencoders of the cascade")
        tied: bool = Field(
            False,
            description="true trains one cascade for both ways",
            json_schema_extra={"released": "false; msp: true"},
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "msp": {"learning_rate": 5e-4, "imagination_weight": 2.0, "cycle_weight": 0.5, "tied": True},
        "demo": {"constant_epochs": 20, "decay_epochs": 10, "batch_size": 16, "learning_rate": 1e-3},
    }

    def __init__(self, hyperparameters: CycleHyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        self.encoders = Encoders(hyperparameters, spec)
        self.imagination, self.cycle = self.autoencoders()
        self.classifier = Classifier(
            self.imagination.latent_width, outputs=spec.outputs, dropout=hyperparameters.dropout
        )
        self.initialise()

    def autoencoders(self) -> tuple[nn.Module, nn.Module | None]:
        """Make the autoencoder that imagines, and the one that goes back; None, where it is the same."""
        h = self.hyperparameters
        forward, back = (ResidualAutoencoder(3 * WIDTH, h.layers, h.blocks) for _ in range(2))
        return forward, None if h.tied else back

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the bottlenecks."""
        _, latent = self.imagination(self.encoders(batch))
        return Prediction(self.readout(self.classifier(latent)), latent)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error of the prediction, of the imagined vectors, and of the way back."""
        h = self.hyperparameters
        fused = self.encoders(batch)
        imagined, latent = self.imagination(fused)
        back, _ = (self.cycle or self.imagination)(imagined)
        output = self.readout(self.classifier(latent))
        return {
            "emotion": self.error(output, batch.label),
            "imagination": h.imagination_weight * F.mse_loss(imagined, self.missing_target(batch)),
            "cycle": h.cycle_weight * F.mse_loss(back, fused.detach()),
        }
