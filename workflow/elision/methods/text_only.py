"""Text alone: a fine-tuned encoder, its mean token, and one linear layer.

Every multimodal method should beat this baseline where audio or vision helps.
"""

from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from elision.batch import Batch
from elision.methods.base import Method, Prediction
from elision.task import DataSpec


class TextOnly(Method):
    """Linear regression on the mean token of the text encoder."""

    name = "text_only"
    floor = True
    error_of_scores = "squared"
    requires = ("text",)
    combines = False

    class Hyperparameters(Method.Hyperparameters):
        """Usual values for fine-tuning a BERT."""

        patience: int | None = Field(
            8, ge=1, description="epochs without a better validation score after which training stops"
        )
        learning_rate_text_encoder: float = Field(5e-5, gt=0, description="learning rate of the text encoder")
        learning_rate: float = Field(1e-3, gt=0, description="learning rate of the linear layer")
        weight_decay: float = Field(1e-2, ge=0, description="weight decay of AdamW")

    corpus_defaults: ClassVar[dict[str, dict]] = {"demo": {"epochs": 12, "batch_size": 16}}

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        self.head = nn.Linear(encoder.width, spec.outputs)

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the mean of the valid tokens; from zeros, where there is no text."""
        valid = batch.text.valid.unsqueeze(2)
        mean = (self.encoder(batch.text) * valid).sum(1) / valid.sum(1).clamp(min=1)
        return Prediction(self.readout(self.head(mean)), mean)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean squared error, or the cross-entropy of classes."""
        return {"sentiment": self.error(self.predict(batch).output, batch.label)}
