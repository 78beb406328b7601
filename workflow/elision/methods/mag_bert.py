"""MAG-BERT: a multimodal adaptation gate inside a BERT.

Audio and vision of a token make a vector. The vector shifts the embedding of the token before the first layer of the
text encoder. Each modality has a gate, which reads the token, too. The gate decides how much of the modality counts.
The shift is never longer than the embedding.

The file follows MMSA's implementation and hyperparameters. The gate is that of the authors' code. Around the gate,
MMSA and the authors differ:

- The loss is the absolute error, with Adam at a constant rate and early stopping. The authors minimise the squared
  error for 40 epochs, in batches of 48 with dropout 0.5. They use AdamW at 1e-5 with a warm-up over a tenth of the
  steps.
- CH-SIMS has no aligned features. There, MMSA averages frames over equal parts of the padded length, one part per
  token position (``alignment: pooled``).

Positions beyond the text are shifted, too; the text encoder masks them. A token whose audio and vision are lost is
shifted as well, because both projections have a bias. Classes have the cross-entropy, as in MMSA.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Method, Prediction
from elision.task import DataSpec

_EPSILON = 1e-6


class AdaptationGate(nn.Module):
    """Shift of each token by audio and vision, gated and limited in length, then layer norm and dropout.

    Parameters
    ----------
    audio, vision : int
        Feature dimensions.
    width : int
        Dimension of the tokens.
    beta : float
        Longest shift, in lengths of the token.
    dropout : float
    """

    def __init__(self, *, audio: int, vision: int, width: int, beta: float, dropout: float) -> None:
        super().__init__()
        self.beta = beta
        self.gate_audio, self.gate_vision = nn.Linear(audio + width, width), nn.Linear(vision + width, width)
        self.shift_audio, self.shift_vision = nn.Linear(audio, width), nn.Linear(vision, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def shift(self, tokens: Tensor, audio: Tensor, vision: Tensor) -> Tensor:
        """Return the shift [B, T, width] before it is limited."""
        gate_audio = F.relu(self.gate_audio(torch.cat([audio, tokens], 2)))
        gate_vision = F.relu(self.gate_vision(torch.cat([vision, tokens], 2)))
        return gate_audio * self.shift_audio(audio) + gate_vision * self.shift_vision(vision)

    def limit(self, shift: Tensor, tokens: Tensor) -> Tensor:
        """Shorten each shift that is longer than ``beta`` times its token."""
        length = torch.linalg.vector_norm(shift, dim=2, keepdim=True)
        longest = self.beta * torch.linalg.vector_norm(tokens, dim=2, keepdim=True)
        return (longest / (length + _EPSILON)).clamp(max=1) * shift

    def forward(self, tokens: Tensor, audio: Tensor, vision: Tensor) -> Tensor:
        """Adapt tokens [B, T, width] to the audio and vision [B, T, d] that go with them."""
        shift = self.limit(self.shift(tokens, audio, vision), tokens)
        return self.dropout(self.norm(tokens + shift))


class MAGBERT(Method):
    """Rahman, Hasan, Lee, Zadeh, Mao, Morency and Hoque, ACL 2020."""

    name = "mag_bert"
    paper = (
        "Rahman, Hasan, Lee, Zadeh, Mao, Morency, Hoque: Integrating Multimodal Information in Large Pretrained "
        "Transformers. ACL 2020, arXiv 1908.05787"
    )
    requires = ("text",)
    uses_pooler = True
    optimizer = torch.optim.Adam
    official_counts: ClassVar[dict[str, int]] = {"mosi": 1_223_425, "mosei": 1_352_449, "sims": 2_324_737}
    small: ClassVar[dict] = {"initial_std": 0.2, "gate_dropout": 0.0}

    class Hyperparameters(Method.Hyperparameters):
        """Those of MMSA for MOSI."""

        epochs: int = Field(
            100, ge=0, description="most passes over the training split. MMSA has no limit and stops by patience"
        )
        batch_size: int = Field(32, ge=1, description="utterances per forward pass")
        patience: int | None = Field(
            8, ge=1, description="epochs without a better validation score after which training stops"
        )
        alignment: Literal["words", "pooled"] = Field(
            "words",
            description="what audio and vision are per text token. words: the mean of the frames of the token's "
            "word. pooled: means over equal parts of the padded length",
            json_schema_extra={"released": "words; pooled on CH-SIMS"},
        )
        learning_rate: float = Field(2e-5, gt=0, description="learning rate of all weights, text encoder included")
        weight_decay: float = Field(0.0, ge=0, description="L2 penalty on all weights, text encoder included")
        beta: float = Field(1.0, gt=0, description="longest shift of a token, in lengths of its embedding")
        gate_dropout: float = Field(0.3, ge=0, lt=1, description="dropout on the shifted embeddings")
        dropout: float = Field(0.1, ge=0, lt=1, description="dropout on the input of the prediction head")
        initial_std: float = Field(
            0.02, gt=0, description="standard deviation of the new weights; the default is that of BERT"
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosei": {"learning_rate": 1e-5, "gate_dropout": 0.2},
        "sims": {"alignment": "pooled", "learning_rate": 5e-5, "gate_dropout": 0.1},
        "demo": {"epochs": 12, "batch_size": 16, "learning_rate": 1e-4},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h, width = hyperparameters, encoder.width
        self.gate = AdaptationGate(
            audio=spec.audio, vision=spec.vision, width=width, beta=h.beta, dropout=h.gate_dropout
        )
        self.head = nn.Sequential(nn.Dropout(h.dropout), nn.Linear(width, spec.outputs))
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Linear) and not name.startswith("encoder."):
                nn.init.normal_(layer.weight, std=h.initial_std)
                nn.init.zeros_(layer.bias)

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the pooled first token of the adapted text."""

        def adapt(tokens: Tensor) -> Tensor:
            return self.gate(tokens, batch.audio.values, batch.vision.values)

        representation = self.encoder.pool(self.encoder(batch.text, {0: adapt}))
        return Prediction(self.readout(self.head(representation)), representation)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean absolute error, or the cross-entropy of classes."""
        return {"sentiment": self.error(self.predict(batch).output, batch.label)}
