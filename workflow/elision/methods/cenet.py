"""CENET: cross-modal enhancement network.

After the first layer of the text encoder, every token queries audio and vision. What the token finds shifts the
token. The other layers of a pretrained encoder then read words that carry voice and face. The method predicts from
the first token.

The file follows MMSA's variant, with which LNLN compares. MMSA and the authors' code differ:

- The text encoder is a BERT. The authors start from SentiLARE, a RoBERTa that also reads part-of-speech tags and the
  polarity of words. MMSA keeps three embedding tables for tags and polarity, but never feeds them; the tables are
  left out here. The pooler is left out, too, because nothing uses its output.
- Two layers embed a frame. The authors replace each frame by the number of its k-means cluster.
- The loss is the absolute error, with Adam at a constant rate and early stopping. The authors minimise the squared
  error for 40 epochs. They use AdamW with a peak rate of 6e-5 and a warm-up over 40 % of the steps.

Three oddities of the code are kept. Attention scores are multiplied by 8 instead of divided by the root of the width
(``attention_scale``). Padded frames are attended like any other frame. The embeddings of the text encoder get no
gradients and never change (``train_embeddings``).

CH-SIMS v2 has values of its own in MMSA. Classification is ours: the same network with cross-entropy in place of the
absolute error.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Method, Prediction, TrainingHyperparameters
from elision.task import DataSpec


class FrameAttention(nn.Module):
    """What each token finds among the frames of a modality: attention with one head and without a mask.

    Parameters
    ----------
    inputs : int
        Dimension of the frames.
    width : int
        Dimension of the tokens.
    scale : float
        What the scores are multiplied by.
    """

    def __init__(self, inputs: int, width: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.embedding = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width))
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, tokens: Tensor, frames: Tensor) -> Tensor:
        """Let tokens [B, T, width] attend to frames [B, S, inputs]; returns [B, T, width].

        Frames are far more than tokens. So what is linear in a frame, the second layer of the embedding and the
        projections, is taken of queries and answers instead: q (K E f) = (E' K' q) f, and V E (a f) = a (V E f). What
        the biases of E and K add to the scores is the same for all frames, and a softmax does not see it.
        """
        first, relu, second = self.embedding
        frames = relu(first(frames))
        asked = self.query(tokens) @ self.key.weight @ second.weight
        return self.value(second(F.scaled_dot_product_attention(asked, frames, frames, scale=self.scale)))


class Enhancement(nn.Module):
    """Shift of each token by what it finds in vision and audio; there is no norm and no gate.

    Parameters
    ----------
    audio, vision : int
        Feature dimensions.
    width : int
        Dimension of the tokens.
    scale : float
        Of the attention.
    """

    def __init__(self, *, audio: int, vision: int, width: int, scale: float) -> None:
        super().__init__()
        self.vision = FrameAttention(vision, width, scale)
        self.audio = FrameAttention(audio, width, scale)
        self.shift = nn.Linear(2 * width, width)

    def forward(self, tokens: Tensor, audio: Tensor, vision: Tensor) -> Tensor:
        """Enhance tokens [B, T, width] by frames [B, S, d] of both modalities."""
        return tokens + self.shift(torch.cat([self.vision(tokens, vision), self.audio(tokens, audio)], 2))


class CENET(Method):
    """Wang, Liu, Wang, Tian, He and Gao, IEEE Transactions on Multimedia 2023."""

    name = "cenet"
    paper = (
        "Wang, Liu, Wang, Tian, He, Gao: Cross-modal Enhancement Network for Multimodal Sentiment Analysis. IEEE "
        "Transactions on Multimedia 25, 2023 (MMSA's variant)"
    )
    requires = ("text",)
    sees_padding = "attention of tokens over audio and vision is not masked"
    official_counts: ClassVar[dict[str, int]] = {"mosi": 6_517_249, "mosei": 6_581_761, "sims": 7_067_905}
    compared = "equal without three embedding tables that get no ids (10,752), which count to the text encoder"
    small: ClassVar[dict] = {"initial_std": 0.2, "dropout": 0.0}

    class Hyperparameters(TrainingHyperparameters):
        """Those of MMSA for MOSI."""

        epochs: int = Field(
            100, ge=0, description="most passes over the training split. MMSA has no limit and stops by patience"
        )
        batch_size: int = Field(64, ge=1, description="utterances per forward pass")
        patience: int | None = Field(
            8, ge=1, description="epochs without a better validation score after which training stops"
        )
        learning_rate: float = Field(1e-5, gt=0, description="learning rate of all weights, text encoder included")
        weight_decay: float = Field(
            1e-4, ge=0, description="L2 penalty, except on biases and layer norms outside the enhancement"
        )
        adam_epsilon: float = Field(3e-8, gt=0, description="epsilon of Adam")
        gradient_clip: float = Field(2.0, gt=0, description="largest norm of the gradient")
        attention_scale: float = Field(
            8.0,
            gt=0,
            description="factor of the attention scores. The released code multiplies by 8 instead of dividing "
            "by the root of the width",
            json_schema_extra={"released": 8.0},
        )
        dropout: float = Field(0.1, ge=0, lt=1, description="dropout before both layers of the prediction head")
        initial_std: float = Field(
            0.02, gt=0, description="standard deviation of the new weights; the default is that of BERT"
        )
        train_embeddings: bool = Field(
            False,
            description="true trains the embeddings of the text encoder, too. They never train in the released code",
            json_schema_extra={"released": False},
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosei": {"adam_epsilon": 1e-8},
        "sims": {"batch_size": 32, "learning_rate": 2e-6, "weight_decay": 0.0, "adam_epsilon": 2e-8},
        "simsv2": {"learning_rate": 3e-5, "weight_decay": 0.0},
        "demo": {"epochs": 10, "batch_size": 16, "learning_rate": 1e-4},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h, width = hyperparameters, encoder.width
        if not h.train_embeddings:
            encoder.freeze_embeddings()
        self.enhancement = Enhancement(audio=spec.audio, vision=spec.vision, width=width, scale=h.attention_scale)
        self.head = nn.Sequential(nn.Dropout(h.dropout), nn.Linear(width, width), nn.Tanh())
        self.out = nn.Sequential(nn.Dropout(h.dropout), nn.Linear(width, spec.outputs))
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Linear) and not name.startswith("encoder."):
                nn.init.normal_(layer.weight, std=h.initial_std)
                nn.init.zeros_(layer.bias)

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the first token of the enhanced text."""

        def enhance(tokens: Tensor) -> Tensor:
            return self.enhancement(tokens, batch.audio.values, batch.vision.values)

        representation = self.head(self.encoder(batch.text, {1: enhance})[:, 0])
        return Prediction(self.readout(self.out(representation)), representation)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean absolute error, or the cross-entropy of classes."""
        return {"sentiment": self.error(self.predict(batch).output, batch.label)}

    def parameter_groups(self) -> list[dict]:
        """Enhancement, which decays as a whole, and weights and biases of all the rest."""
        enhancement, decays, rest = [], [], []
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                if name.startswith("enhancement."):
                    enhancement.append(parameter)
                else:
                    (rest if "bias" in name or "LayerNorm.weight" in name else decays).append(parameter)
        decay = self.hyperparameters.weight_decay
        return [
            {"name": "weights", "params": decays, "weight_decay": decay},
            {"name": "enhancement", "params": enhancement, "weight_decay": decay},
            {"name": "biases and layer norms", "params": rest, "weight_decay": 0.0},
        ]

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam, whose weight decay is an L2 penalty."""
        h = self.hyperparameters
        return [torch.optim.Adam(self.parameter_groups(), lr=h.learning_rate, eps=h.adam_epsilon)]

    def after_backward(self) -> None:
        """Clip the norm of the gradient."""
        nn.utils.clip_grad_norm_(self.parameters(), self.hyperparameters.gradient_clip)
