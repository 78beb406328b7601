"""TFN: tensor fusion network.

Each modality becomes one vector with a 1 in front. The outer product of the three vectors holds every unimodal,
bimodal and trimodal interaction. A perceptron reads the product.

The file follows MMSA's implementation and hyperparameters. Where the released code and the paper differ, the file
follows the code:

- Text is the features of a frozen BERT, which an LSTM reads; in the paper, text is GloVe vectors.
- Audio and vision are averaged over the padded length, so that padded and missing frames shrink the mean. ``mean:
  valid`` divides by the number of valid frames. The LSTM runs over padding, too.
- The code never applies the configured text dropout, which is left out here.
- Scores lie in [-3, 3] on every corpus, even where labels lie in [-1, 1] (``output_range: corpus``).

The features of BERT are computed from the corrupted text, and not read from a file. A batch of one sample has no
variance; the running statistics normalise such a batch. CH-SIMS v2 has values of its own in MMSA.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch, Sequence
from elision.methods.base import Method, Prediction
from elision.methods.layers.batch_norm import BatchNorm
from elision.task import CORPORA, DataSpec, TaskKind


class MeanSubnet(nn.Sequential):
    """Three layers on the normalised mean frame of audio or vision."""

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__(
            BatchNorm(inputs),
            nn.Dropout(dropout),
            *(nn.Linear(inputs, width), nn.ReLU()),
            *(nn.Linear(width, width), nn.ReLU()),
            *(nn.Linear(width, width), nn.ReLU()),
        )


class TextSubnet(nn.Module):
    """Last hidden state of an LSTM over all positions, padding included, projected."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True)
        self.out = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Summarise token features [B, T, inputs] in one vector [B, outputs]."""
        _, (hidden, _) = self.lstm(x)
        return self.out(hidden[-1])


class TFN(Method):
    """Zadeh, Chen, Poria, Cambria and Morency, EMNLP 2017."""

    name = "tfn"
    paper = (
        "Zadeh, Chen, Poria, Cambria, Morency: Tensor Fusion Network for Multimodal Sentiment Analysis. EMNLP 2017, "
        "arXiv 1707.07250"
    )
    optimizer = torch.optim.Adam
    sees_padding = "the means and the LSTM run over padding"
    official_counts: ClassVar[dict[str, int]] = {"mosi": 9_497_043, "mosei": 5_042_539, "sims": 35_632_077}
    compared = "equal without two constants"
    small: ClassVar[dict] = {"text_width": 8, "audio_width": 8, "vision_width": 8}

    class Hyperparameters(Method.Hyperparameters):
        """Those of MMSA for MOSI."""

        epochs: int = Field(
            100, ge=0, description="most passes over the training split. MMSA has no limit and stops by patience"
        )
        batch_size: int = Field(32, ge=1, description="utterances per forward pass")
        patience: int | None = Field(
            8, ge=1, description="epochs without a better validation score after which training stops"
        )
        finetune_text_encoder: bool = Field(
            False,
            description="true trains the text encoder with the rest of the method. The released code reads "
            "features of a frozen BERT",
            json_schema_extra={"released": False},
        )
        learning_rate: float = Field(
            1e-3, gt=0, description="learning rate of all weights except those of the text encoder"
        )
        learning_rate_text_encoder: float = Field(
            5e-5, gt=0, description="learning rate of the text encoder, if it is trained"
        )
        text_hidden: int = Field(128, ge=1, description="width of the hidden state of the text LSTM")
        text_width: int = Field(32, ge=1, description="width of the text vector in the outer product")
        audio_width: int = Field(32, ge=1, description="width of the audio vector in the outer product")
        vision_width: int = Field(128, ge=1, description="width of the vision vector in the outer product")
        fusion_width: int = Field(64, ge=1, description="width of the hidden layers that read the outer product")
        audio_dropout: float = Field(0.3, ge=0, lt=1, description="dropout on the mean frame of audio")
        vision_dropout: float = Field(0.3, ge=0, lt=1, description="dropout on the mean frame of vision")
        fusion_dropout: float = Field(0.5, ge=0, lt=1, description="dropout on the outer product")
        mean: Literal["padded", "valid"] = Field(
            "padded",
            description="divisor of the mean of audio and vision. padded: the padded length. valid: the number "
            "of frames",
            json_schema_extra={"released": "padded"},
        )
        output_range: Literal["mosi", "corpus"] = Field(
            "mosi",
            description="range of the scores. mosi: -3 to 3, on every corpus. corpus: the label range of the corpus",
            json_schema_extra={"released": "mosi"},
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosei": {
            "batch_size": 128,
            "learning_rate": 5e-3,
            "text_width": 128,
            "audio_width": 16,
            "fusion_width": 16,
            "audio_dropout": 0.4,
            "vision_dropout": 0.4,
            "fusion_dropout": 0.4,
        },
        "sims": {
            "learning_rate": 5e-4,
            "text_width": 256,
            "fusion_width": 32,
            "audio_dropout": 0.4,
            "vision_dropout": 0.4,
            "fusion_dropout": 0.4,
        },
        "simsv2": {"batch_size": 128, "learning_rate": 2e-3, "text_width": 128, "fusion_width": 32},
        "demo": {"epochs": 15, "batch_size": 16},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        self.text_subnet = TextSubnet(encoder.width, h.text_hidden, h.text_width)
        self.audio_subnet = MeanSubnet(spec.audio, h.audio_width, h.audio_dropout)
        self.vision_subnet = MeanSubnet(spec.vision, h.vision_width, h.vision_dropout)
        interactions = (h.audio_width + 1) * (h.vision_width + 1) * (h.text_width + 1)
        self.fusion = nn.Sequential(
            nn.Dropout(h.fusion_dropout),
            *(nn.Linear(interactions, h.fusion_width), nn.ReLU()),
            *(nn.Linear(h.fusion_width, h.fusion_width), nn.ReLU()),
        )
        self.out = nn.Linear(h.fusion_width, spec.outputs)
        self.limit = CORPORA["mosi"].label_range if h.output_range == "mosi" else spec.label_range

    def mean_frame(self, sequence: Sequence) -> Tensor:
        """Average the frames of audio or vision [B, d]; missing ones are zeros."""
        if self.hyperparameters.mean == "padded":
            return sequence.values.mean(1)
        return sequence.values.sum(1) / sequence.lengths.clamp(min=1).unsqueeze(1)

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the outer product; scores are squashed into their range, class logits are not."""
        text = self.text_subnet(self.encoder(batch.text))
        audio = self.audio_subnet(self.mean_frame(batch.audio))
        vision = self.vision_subnet(self.mean_frame(batch.vision))
        representation = self.fusion(outer_product(audio, vision, text))
        output = self.readout(self.out(representation))
        if self.spec.task is TaskKind.REGRESSION:
            output = 2 * self.limit * output.sigmoid() - self.limit
        return Prediction(output, representation)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean absolute error, or the cross-entropy."""
        return {"sentiment": self.error(self.predict(batch).output, batch.label)}


def outer_product(audio: Tensor, vision: Tensor, text: Tensor) -> Tensor:
    """Multiply every value of each modality, and a 1, with every one of the others.

    Parameters
    ----------
    audio : Tensor [B, A]
    vision : Tensor [B, V]
    text : Tensor [B, T]

    Returns
    -------
    Tensor [B, (A + 1) (V + 1) (T + 1)]
        The index of text runs fastest, that of audio slowest; index 0 of each is the 1.
    """
    audio, vision, text = (F.pad(vector, (1, 0), value=1.0) for vector in (audio, vision, text))
    return torch.einsum("ba,bv,bt->bavt", audio, vision, text).flatten(1)
