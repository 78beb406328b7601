"""The teacher of MMIN: encoders and a classifier that learn from complete data (``utt_fusion`` in the official code).

The file follows the official code and its configurations. MMIN starts from the encoders. MMIN then imagines what the
encoders make of the missing modalities. What differs from the official code:

- Padding takes no part in the maxima over time. ``mask_padding: false`` lets padding take part, as in the official
  code.
- Scores are ours: the squared error in place of the cross-entropy.
"""

from typing import ClassVar

from torch import Tensor, nn

from elision.batch import Batch
from elision.methods.base import Prediction
from elision.methods.layers.mmin_family import WIDTH, Encoders, FamilyMethod, TeacherHyperparameters
from elision.methods.layers.utterance import Classifier
from elision.task import DataSpec


class MMINTeacher(FamilyMethod):
    """Zhao, Li and Jin, ACL 2021."""

    name = "mmin_teacher"
    error_of_scores = "squared"
    corruption = "complete"
    paper = (
        "Zhao, Li, Jin: Missing Modality Imagination Network for Emotion Recognition with Uncertain Missing "
        "Modalities. ACL 2021"
    )
    reads_text = "vectors"
    official_counts: ClassVar[dict[str, int]] = {"iemocap": 2_063_620}
    small: ClassVar[dict] = {"dropout": 0.0, "text_dropout": 0.0}

    class Hyperparameters(TeacherHyperparameters):
        """Those of the released configuration for IEMOCAP."""

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "msp": {"learning_rate": 5e-4, "batch_size": 64},
        "demo": {"constant_epochs": 5, "decay_epochs": 5, "batch_size": 16, "learning_rate": 1e-3},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        self.encoders = Encoders(hyperparameters, spec)
        self.classifier = Classifier(3 * WIDTH, outputs=spec.outputs, dropout=hyperparameters.dropout)
        self.initialise()

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the vectors of the modalities."""
        fused = self.encoders(batch)
        return Prediction(self.readout(self.classifier(fused)), fused)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error of the prediction."""
        return {"emotion": self.error(self.predict(batch).output, batch.label)}
