"""The teacher of IF-MMIN: encoders and a head of invariant features that learn from complete data.

The modalities share a head, which makes an invariant vector of each modality's vector. The central moment discrepancy
pulls the invariant vectors of the modalities together. Both kinds of vectors are classified. The official code calls
the network ``utt_shared``. The file follows the official code and its configuration for IEMOCAP. What differs here:

- A distance of exactly 0 between two moments has a gradient of 0 instead of nan.
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
from elision.methods.layers.mmin_family import WIDTH, Encoders, FamilyMethod, InvariantHead, TeacherHyperparameters
from elision.methods.layers.moments import central_moment_discrepancy
from elision.methods.layers.utterance import Classifier
from elision.task import DataSpec


class IFMMINTeacher(FamilyMethod):
    """Zuo, Liu, Zhao, Gao and Li, ICASSP 2023."""

    name = "if_mmin_teacher"
    error_of_scores = "squared"
    corruption = "complete"
    paper = (
        "Zuo, Liu, Zhao, Gao, Li: Exploiting Modality-Invariant Feature for Robust Multimodal Emotion Recognition "
        "with Missing Modalities. ICASSP 2023, arXiv 2210.15359"
    )
    reads_text = "vectors"
    official_counts: ClassVar[dict[str, int]] = {"iemocap": 2_145_796}

    class Hyperparameters(TeacherHyperparameters):
        """Those of the released configuration for IEMOCAP."""

        batch_size: int = Field(64, ge=1, description="utterances per forward pass")
        discrepancy_weight: float = Field(1.0, ge=0, description="weight of the distance between the invariant vectors")

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "demo": {"constant_epochs": 5, "decay_epochs": 5, "batch_size": 16, "learning_rate": 1e-3},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        self.encoders = Encoders(hyperparameters, spec)
        self.invariant = InvariantHead()
        self.classifier = Classifier(6 * WIDTH, outputs=spec.outputs, dropout=hyperparameters.dropout)
        self.initialise()

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the vectors of the modalities and the invariant ones."""
        fused = self.encoders(batch)
        both = torch.cat([fused, self.invariant(fused)], 1)
        return Prediction(self.readout(self.classifier(both)), both)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error of the prediction, and the mean discrepancy of two modalities."""
        prediction = self.predict(batch)
        invariant = prediction.representation[:, 3 * WIDTH :].split(WIDTH, 1)
        distances = [central_moment_discrepancy(p, q) for p, q in combinations(invariant, 2)]
        return {
            "emotion": self.error(prediction.output, batch.label),
            "discrepancy": self.hyperparameters.discrepancy_weight * torch.stack(distances).mean(),
        }
