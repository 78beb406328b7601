"""The teacher of CIF-MMIN: two encoders per modality that learn from complete data.

The vectors of the first encoders are classified. The vectors of the second encoders are projected. A contrastive loss
pulls the projections of one utterance together, and those of different utterances apart. CIF-MMIN starts from both
sets of encoders, without the projections. The official code calls the network ``utt_self_supervise``. The file
follows the official code and its configurations. What differs here:

- The temperature is the constant e. The official code has a parameter in its place, which no optimizer trains.
- Padding takes no part in the maxima over time. ``mask_padding: false`` lets padding take part, as in the official
  code.
- On MOSI, the official code keeps the epoch with the best F1. Here ``train.selection`` chooses, as for every method.
- On MSP-IMPROV, the official code gives this network raw audio. Here the network reads what the method reads.
"""

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Prediction
from elision.methods.layers.mmin_family import ORDER, WIDTH, Encoders, FamilyMethod, TeacherHyperparameters
from elision.methods.layers.precision import float32
from elision.methods.layers.utterance import Classifier, LSTMEncoder
from elision.task import DataSpec

_EPSILON = 1e-10
_WEIGHTS = {("text", "vision"): 0.25, ("text", "audio"): 0.25, ("vision", "audio"): 0.5}


class CIFMMINTeacher(FamilyMethod):
    """Liu, Zuo, Lian, Schuller and Li, IEEE Transactions on Affective Computing 2024."""

    name = "cif_mmin_teacher"
    error_of_scores = "squared"
    corruption = "complete"
    paper = (
        "Liu, Zuo, Lian, Schuller, Li: Contrastive Learning Based Modality-Invariant Feature Acquisition for Robust "
        "Multimodal Emotion Recognition With Missing Modalities. IEEE TAFFC 15(4), 2024"
    )
    reads_text = "vectors"
    official_counts: ClassVar[dict[str, int]] = {"iemocap": 3_129_092}
    compared = "equal without the temperature (1) that no optimizer trains"

    class Hyperparameters(TeacherHyperparameters):
        """Those of the released configurations for IEMOCAP and MOSI."""

        constant_epochs: int = Field(30, ge=1, description="epochs at the full learning rate")
        batch_size: int = Field(64, ge=1, description="utterances per forward pass")

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "msp": {"learning_rate": 5e-4},
        "demo": {"constant_epochs": 5, "decay_epochs": 5, "batch_size": 16, "learning_rate": 1e-3},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        self.encoders = Encoders(h, spec)
        self.contrastive = Encoders(h, spec, LSTMEncoder(spec.text, WIDTH, h.mask_padding))
        self.projections = nn.ModuleDict({name: projection() for name in ORDER})
        self.classifier = Classifier(3 * WIDTH, outputs=spec.outputs, dropout=h.dropout)
        self.initialise()

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the vectors of the modalities; the contrastive ones take no part."""
        fused = self.encoders(batch)
        return Prediction(self.readout(self.classifier(fused)), fused)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error of the prediction, and a contrastive loss for every two modalities."""
        vectors = self.contrastive(batch).split(WIDTH, 1)
        projected = {name: self.projections[name](vector) for name, vector in zip(ORDER, vectors, strict=True)}
        terms = {
            f"contrast {p} {q}": weight * contrastive_loss(projected[p], projected[q])
            for (p, q), weight in _WEIGHTS.items()
        }
        return {"emotion": self.error(self.predict(batch).output, batch.label), **terms}


def projection() -> nn.Sequential:
    """Layers between a contrastive vector and the contrastive loss."""
    return nn.Sequential(
        nn.Linear(WIDTH, WIDTH), nn.LeakyReLU(), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.LeakyReLU()
    )


@float32
def contrastive_loss(p: Tensor, q: Tensor) -> Tensor:
    """How much more alike two vectors of one utterance are than those of two utterances; smaller is better.

    With S the cosines times e: the mean of log(sum_{j != i} exp S_ij) - S_ii, over the utterances i and both
    directions. The own pair is no part of the sum (decoupled), so that the value can be negative. It is without
    meaning, and finite, in a batch of one.

    Parameters
    ----------
    p, q : Tensor [B, width]

    Returns
    -------
    Tensor []
    """
    similarity = math.e * F.normalize(p, dim=1) @ F.normalize(q, dim=1).T
    own = torch.eye(len(p), dtype=torch.bool, device=p.device)
    others = similarity.exp().masked_fill(own, 0.0)
    totals = torch.cat([others.sum(1), others.sum(0)])
    return (totals + _EPSILON).log().mean() - similarity.diagonal().mean()
