"""MCTN: multimodal cyclic translation network.

A recurrent network translates text into vision and back. Its hidden states are translated into audio. The hidden states
of the second translation predict. In a prediction, nothing is translated: text suffices.

The file follows MMSA's implementation and hyperparameters for MOSI, which the other corpora share here. Both differ
from the authors' code, which is for TensorFlow 1:

- The length is 50 tokens and not 20. Training has a patience of 8 epochs and not 20. The gradient has a norm of at most
  1. The last layer has no L2 penalty.
- Text is the features of a frozen BERT. In the authors' code, text is GloVe vectors.
- Each step of a decoder starts an LSTM anew. Its output is the state that the attention of the next step reads.

Quirks of MMSA's code that are kept:

- A decoder always reads the true step before, never its own, so that it learns to predict one step ahead. The first
  step of a translation is zeros.
- All modalities are as wide as the widest. The recurrent layers read padding, and the errors of translations count it.
- The recurrent weights of the decoders never train, because their states are zeros.

Differences from MMSA's code:

- MMSA's recurrent layers take the batch for the time. A prediction then depends on the other utterances of the batch.
  Here the layers run over time; ``time_axis: batch`` is the behaviour of MMSA.
- MMSA leaves an epoch on MOSEI after two batches. Here every epoch has all batches.
- The features of BERT are computed from the corrupted text, and not read from a file. No gradient reaches the targets
  of translations, also if the text encoder is trained.

The targets of translations are the sequences that training gives, corrupted as they are. ``order`` may begin with
another modality, which then suffices. Classes have the cross-entropy, which is ours.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Method, Prediction
from elision.task import MODALITIES, DataSpec

_UNTRAINED = "Each step of the decoder starts from a state of zeros, which these weights multiply, as in MMSA's code."


class Encoder(nn.Module):
    """Bidirectional LSTM whose directions are summed.

    Parameters
    ----------
    inputs, hidden : int
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True, bidirectional=True)
        self.start = nn.Linear(hidden, hidden, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states [B, T, hidden] of a sequence [B, T, inputs], and where a decoder starts [B, hidden]."""
        outputs, (last, _) = self.lstm(x)
        forwards, backwards = outputs.chunk(2, 2)
        return forwards + backwards, self.start(last.sum(0)).tanh()


class Decoder(nn.Module):
    """One step of a bidirectional LSTM for each step of the target, with attention to the hidden states of the source.

    Parameters
    ----------
    outputs, hidden : int
    """

    def __init__(self, outputs: int, hidden: int) -> None:
        super().__init__()
        self.attention = nn.Linear(2 * hidden, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)
        self.lstm = nn.LSTM(outputs + hidden, hidden, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * hidden, outputs)

    def forward(self, source: Tensor, state: Tensor, target: Tensor) -> Tensor:
        """Predict each step of a target from the steps before it.

        Parameters
        ----------
        source : Tensor [B, S, hidden]
        state : Tensor [B, hidden]
            What the attention reads at the first step.
        target : Tensor [B, T, outputs]

        Returns
        -------
        Tensor [B, T, outputs]
            Zeros at the first step.
        """
        states = []
        for before in target[:, :-1].unbind(1):
            queries = state[:, None].expand_as(source)
            weights = self.score(self.attention(torch.cat([queries, source], 2)).tanh()).softmax(1)
            context = (weights * source).sum(1)
            outputs, _ = self.lstm(torch.cat([before, context], 1)[:, None])
            state = sum(outputs[:, 0].chunk(2, 1))
            states.append(torch.cat([state, context], 1))
        if not states:
            return torch.zeros_like(target)
        return F.pad(self.out(torch.stack(states, 1)), (0, 0, 1, 0))


class MCTN(Method):
    """Pham, Liang, Manzini, Morency and Poczos, AAAI 2019."""

    name = "mctn"
    paper = (
        "Pham, Liang, Manzini, Morency, Poczos: Found in Translation: Learning Robust Joint Representations by Cyclic "
        "Translations Between Modalities. AAAI 2019, arXiv 1812.07809"
    )
    requires = ("text",)
    optimizer = torch.optim.Adam
    combines = False
    sees_padding = "the recurrent layers read padding"
    official_counts: ClassVar[dict[str, int]] = {"mosi": 763_778, "mosei": 763_778, "sims": 763_778}
    compared = "equal; with text of 300 values 343,514, equal, too"
    small: ClassVar[dict] = {"hidden": 8}
    exceptions: ClassVar[dict[str, dict[str, str]]] = {"gradients": {"*decoder.lstm.weight_hh*": _UNTRAINED}}

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
        alignment: Literal["none", "words", "pooled"] = Field(
            "words",
            description="what audio and vision are per text token. words: the mean of the frames of the token's "
            "word. pooled: means over equal parts of the padded length. none: they keep their own frames",
        )
        learning_rate: float = Field(
            1e-4, gt=0, description="learning rate of all weights except those of the text encoder"
        )
        learning_rate_text_encoder: float = Field(
            5e-5, gt=0, description="learning rate of the text encoder, if it is trained"
        )
        gradient_clip: float | None = Field(
            1.0, gt=0, description="largest norm of the gradient of all weights (null: no limit)"
        )
        hidden: int = Field(32, ge=1, description="width of all hidden states")
        max_length: int = Field(50, ge=1, description="tokens and frames that are read, from the first")
        order: tuple[Literal[MODALITIES], Literal[MODALITIES], Literal[MODALITIES]] = Field(
            ("text", "vision", "audio"),
            description="order of translations. The first modality is translated into the second and back, and then "
            "into the third. A prediction reads the first alone",
        )
        translation_weight: float = Field(
            0.1, ge=0, description="weight of the error of each of the three translations"
        )
        time_axis: Literal["time", "batch"] = Field(
            "time",
            description="what the recurrent layers run over. time: the steps of an utterance. batch: the utterances of "
            "a batch, one step of each",
            json_schema_extra={"released": "batch"},
        )

        @field_validator("order")
        @classmethod
        def _name_all(cls, order: tuple[str, ...]) -> tuple[str, ...]:
            if set(order) != set(MODALITIES):
                raise ValueError(f"order has a modality twice; name each of {', '.join(MODALITIES)} once")
            return order

        @field_validator("time_axis")
        @classmethod
        def _have_equal_lengths(cls, time_axis: str, info: ValidationInfo) -> str:
            if time_axis == "batch" and info.data.get("alignment") == "none":
                raise ValueError("batch needs sequences of equal length; set alignment to words or pooled")
            return time_axis

    corpus_defaults: ClassVar[dict[str, dict]] = {"demo": {"epochs": 20, "batch_size": 16, "learning_rate": 3e-3}}

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        hidden = hyperparameters.hidden
        self.width = max(encoder.width, spec.audio, spec.vision)
        self.first_encoder, self.first_decoder = Encoder(self.width, hidden), Decoder(self.width, hidden)
        self.second_encoder, self.second_decoder = Encoder(hidden, hidden), Decoder(self.width, hidden)
        self.summary = nn.LSTM(hidden, hidden, batch_first=True)
        self.score = nn.Linear(hidden, 1)
        self.out = nn.Linear(hidden, spec.outputs)

    @property
    def one_by_one(self) -> bool:
        """Not, if the recurrent layers run over the batch."""
        return self.hyperparameters.time_axis == "time"

    def turned(self, x: Tensor) -> Tensor:
        """Exchange batch and time of a sequence, if the recurrent layers run over the batch."""
        return x if self.one_by_one else x.transpose(0, 1)

    def sequence(self, name: str, batch: Batch) -> Tensor:
        """Return a modality [B, T, width], filled up with zeros, for the recurrent layers."""
        values = self.encoder(batch.text) if name == "text" else getattr(batch, name).values
        values = values[:, : self.hyperparameters.max_length]
        return self.turned(F.pad(values, (0, self.width - values.shape[2])))

    def summarise(self, states: Tensor) -> Tensor:
        """Summarise the states of the second encoder, by attention over time, in a vector [B, hidden]."""
        read = self.turned(self.summary(states)[0])
        return (self.score(read).tanh().softmax(1) * read).sum(1)

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the first modality alone."""
        joint, _ = self.first_encoder(self.sequence(self.hyperparameters.order[0], batch))
        representation = self.summarise(self.second_encoder(joint)[0])
        return Prediction(self.readout(self.out(representation)), representation)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error of the prediction and those of the three translations."""
        weight = self.hyperparameters.translation_weight
        source, *others = (self.sequence(name, batch) for name in self.hyperparameters.order)
        second, third = (other.detach() for other in others)
        joint, start = self.first_encoder(source)
        translated = self.first_decoder(joint, start, second)
        back = self.first_decoder(*self.first_encoder(translated), source.detach())
        states, start = self.second_encoder(joint)
        output = self.readout(self.out(self.summarise(states)))
        return {
            "sentiment": self.error(output, batch.label),
            "translation": weight * F.mse_loss(translated, second),
            "cycle": weight * F.mse_loss(back, source.detach()),
            "second_translation": weight * F.mse_loss(self.second_decoder(states, start, third), third),
        }
