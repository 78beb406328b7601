"""EMT-DLFR: efficient multimodal transformer with dual-level feature restoration.

The vectors of the three modalities form a short context. Context and sequences attend to each other, so that the cost
grows with the length of a sequence and not with its square across modalities. In training, the vectors of the
corrupted sample are drawn to the vectors of the complete sample (SimSiam). The lost elements are rebuilt, too.

The file follows the released code. One set of weights serves all directions, modalities and layers, as in all released
configurations. What differs from the released code:

- The complete sample is read in training alone. The code reads the complete sample in tests, too, and drops the
  prediction.
- The training corruption decides what is missing, and one model serves all rates. The code trains one model per
  missing rate, with masks that are drawn once.
- ``train.selection`` chooses the checkpoint. The code stops by the loss on validation: on MOSEI by the error of the
  corrupted samples, elsewhere by the sum of all terms.
- A batch of one sample is trained with the running statistics of the batch norms. The code fails there.
- A modality without a position attends its first position. The code attends all padding of an empty text, and fails
  for a sequence without frames.
- Positions that were never observed are not rebuilt.
- Audio and vision are standardised by the dataset (``standardise``). The code does so for CH-SIMS alone.
- Classes are ours: the cross-entropy in place of the absolute error.

The text is rebuilt as the text encoder reads the complete text at that step of training, dropout included. The targets
therefore move while the text encoder is trained, as in the code.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Method, Prediction
from elision.methods.layers.batch_norm import BatchNorm
from elision.methods.layers.crossmodal import check_heads, interleaved_sinusoids
from elision.methods.layers.packing import read
from elision.methods.layers.precision import float32
from elision.methods.layers.reconstruction import reconstruction_error
from elision.methods.layers.text_encoder import words_of
from elision.task import MODALITIES, DataSpec

_CONTEXT = "context"


class RecurrentEncoder(nn.Module):
    """One-layer LSTM over the valid frames; a linear layer follows at every step.

    Parameters
    ----------
    inputs, hidden, outputs : int
        No linear layer follows where ``outputs`` equals ``hidden``.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True)
        self.out = _linear_or_nothing(hidden, outputs, bias=True)

    def forward(self, values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the steps [B, T, outputs], without meaning beyond the ends, and the last valid one [B, outputs]."""
        steps, last = read(self.lstm, values, lengths.clamp(min=1))
        return self.out(steps), self.out(last[0])


class Attention(nn.Module):
    """Multi-head attention whose queries, keys and values have no bias.

    Parameters
    ----------
    width, heads : int
        ``heads`` must divide ``width``.
    dropout : float
        On the attention weights.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, source: Tensor, seen: Tensor | None) -> Tensor:
        """Let ``x`` [B, T, width] attend to those positions of ``source`` [B, S, width] that are ``seen`` [B, S]."""
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(x), *self.key_value(source).chunk(2, 2))
        )
        answer = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=None if seen is None else seen[:, None, None],
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out(answer.transpose(1, 2).flatten(2))


class PromotionUnit(nn.Module):
    """Attention to a source, attention to itself, and a gated feed-forward layer, each with a norm and a residual.

    Parameters
    ----------
    width, heads : int
        ``heads`` must divide ``width``.
    attention_dropout, dropout : float
        On the attention weights, and on the output of the feed-forward layer.
    """

    def __init__(self, width: int, heads: int, *, attention_dropout: float, dropout: float) -> None:
        super().__init__()
        self.norm_cross, self.norm_source, self.norm_within, self.norm_feed_forward = (
            nn.LayerNorm(width) for _ in range(4)
        )
        self.cross, self.within = (Attention(width, heads, attention_dropout) for _ in range(2))
        self.expand, self.contract = nn.Linear(width, 8 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, source: Tensor, x_seen: Tensor | None, source_seen: Tensor | None) -> Tensor:
        """Promote ``x`` [B, T, width] by ``source`` [B, S, width]; None: all positions are seen."""
        x = x + self.cross(self.norm_cross(x), self.norm_source(source), source_seen)
        normed = self.norm_within(x)
        x = x + self.within(normed, normed, x_seen)
        value, gate = self.expand(self.norm_feed_forward(x)).chunk(2, 2)
        return x + self.dropout(self.contract(value * F.gelu(gate)))


class Fusion(nn.Module):
    """Context and sequences that promote each other, again and again with the same weights.

    Parameters
    ----------
    width, heads, layers : int
    attention_dropout, dropout : float
        Of the units.
    """

    def __init__(self, width: int, heads: int, layers: int, *, attention_dropout: float, dropout: float) -> None:
        super().__init__()
        self.layers = layers
        self.unit = PromotionUnit(width, heads, attention_dropout=attention_dropout, dropout=dropout)
        joint = len(MODALITIES) * width
        self.pool = nn.Sequential(nn.Linear(joint, joint), nn.Tanh(), nn.Linear(joint, 1))

    def forward(
        self, context: Tensor, sequences: dict[str, Tensor], seen: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Fuse.

        Parameters
        ----------
        context : Tensor [B, 3, width]
        sequences : dict of str to Tensor [B, T, width]
        seen : dict of str to Tensor [B, T] bool
            At least one position of each sequence.

        Returns
        -------
        context : Tensor [B, 3, width]
        sequences : dict of str to Tensor [B, T, width]
        """
        sequences = {
            name: x + interleaved_sinusoids(torch.arange(x.shape[1], device=x.device), x.shape[2])
            for name, x in sequences.items()
        }
        for _ in range(self.layers):
            # Both directions read what the layer before has made: the context sees the old sequences.
            found = torch.stack([self.unit(context, x, None, seen[name]) for name, x in sequences.items()], 1).flatten(
                2
            )
            sequences = {name: self.unit(x, context, seen[name], None) for name, x in sequences.items()}
            context = (self.pool(found).softmax(1) * found).sum(1).view_as(context)
        return context, sequences


@dataclass
class View:
    """What is made of a batch, complete or corrupted.

    Attributes
    ----------
    vectors : dict of str to Tensor [B, d]
        Of text, audio and vision, and the fused ``context``.
    sequences : dict of str to Tensor [B, T, width]
        Fused.
    text : Tensor [B, T, d]
        Hidden states of the text encoder from the second position on, and the first at the end.
    """

    vectors: dict[str, Tensor]
    sequences: dict[str, Tensor]
    text: Tensor

    @property
    def joint(self) -> Tensor:
        """All vectors side by side [B, D]."""
        return torch.cat(list(self.vectors.values()), 1)


class EMTDLFR(Method):
    """Sun, Lian, Liu and Tao, IEEE TAFFC 2023."""

    name = "emt_dlfr"
    needs_complete = True
    paper = (
        "Sun, Lian, Liu, Tao: Efficient Multimodal Transformer with Dual-Level Feature Restoration for Robust "
        "Multimodal Sentiment Analysis. IEEE TAFFC 2023, arXiv 2208.07589"
    )
    optimizer = torch.optim.Adam
    official_counts: ClassVar[dict[str, int]] = {"mosi": 2_322_779, "mosei": 2_115_583, "sims": 1_525_592}
    compared = "equal; predictions read 985,906, 767,874 and 453,730 of the parameters"
    small: ClassVar[dict] = {
        "accumulate": 1,
        "width": 8,
        "heads": 2,
        "layers": 2,
        "attention_dropout": 0.0,
        "feed_forward_dropout": 0.0,
        "head_dropout": 0.0,
    }

    class Hyperparameters(Method.Hyperparameters):
        """Those of the released configuration for MOSI."""

        epochs: int = Field(
            100, ge=0, description="most passes over the training split. The code has no limit and stops by patience"
        )
        batch_size: int = Field(32, ge=1, description="utterances per forward pass")
        accumulate: int = Field(4, ge=1, description="batches per optimizer step; their gradients are summed")
        patience: int | None = Field(
            8, ge=1, description="epochs without a better validation score after which training stops"
        )
        learning_rate_text_encoder: float = Field(5e-5, gt=0, description="learning rate of the text encoder")
        learning_rate_audio: float = Field(1e-3, gt=0, description="learning rate of the audio LSTM")
        learning_rate_vision: float = Field(1e-4, gt=0, description="learning rate of the vision LSTM")
        learning_rate: float = Field(1e-3, gt=0, description="learning rate of all other weights")
        weight_decay_text_encoder: float = Field(
            1e-3, ge=0, description="L2 penalty on the text encoder, except on biases and layer norms"
        )
        weight_decay_audio: float = Field(1e-2, ge=0, description="L2 penalty on the audio LSTM")
        weight_decay_vision: float = Field(1e-3, ge=0, description="L2 penalty on the vision LSTM")
        weight_decay: float = Field(1e-3, ge=0, description="L2 penalty on all other weights")
        audio_hidden: int = Field(32, ge=1, description="width of the hidden state of the audio LSTM")
        vision_hidden: int = Field(64, ge=1, description="width of the hidden state of the vision LSTM")
        audio_width: int = Field(16, ge=1, description="width of a step and of the vector of audio")
        vision_width: int = Field(32, ge=1, description="width of a step and of the vector of vision")
        width: int = Field(128, ge=2, multiple_of=2, description="width of context and sequences in the fusion")
        heads: int = Field(4, ge=1, validate_default=True, description="attention heads; they must divide the width")
        layers: int = Field(3, ge=1, description="passes through the weights of the fusion")
        attention_dropout: float = Field(0.3, ge=0, lt=1, description="dropout on the attention weights")
        feed_forward_dropout: float = Field(
            0.1, ge=0, lt=1, description="dropout on the output of the feed-forward layers"
        )
        context_bottleneck: int = Field(128, ge=1, description="width of the hidden layer that predicts the context")
        text_bottleneck: int = Field(256, ge=1, description="width of the hidden layer that predicts the text vector")
        audio_bottleneck: int = Field(8, ge=1, description="width of the hidden layer that predicts the audio vector")
        vision_bottleneck: int = Field(
            16, ge=1, description="width of the hidden layer that predicts the vision vector"
        )
        head_width: int = Field(256, ge=1, description="width of the hidden layers of the prediction")
        head_dropout: float = Field(0.3, ge=0, lt=1, description="dropout on the input of the prediction")
        attraction_weight: float = Field(
            1.0, ge=0, description="weight of the attraction of each vector, and of the error of the complete sample"
        )
        reconstruction_weight: float = Field(
            1.0, ge=0, description="weight of the reconstruction error of each modality"
        )

        @field_validator("heads")
        @classmethod
        def _divide_the_width(cls, heads: int, info: ValidationInfo) -> int:
            return check_heads(heads, info.data.get("width", heads))

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosei": {
            "batch_size": 16,
            "learning_rate_text_encoder": 2e-5,
            "learning_rate_audio": 1e-4,
            "learning_rate": 1e-4,
            "weight_decay_audio": 1e-3,
            "audio_hidden": 16,
            "vision_hidden": 32,
            "layers": 2,
            "attention_dropout": 0.0,
            "feed_forward_dropout": 0.0,
            "head_width": 128,
            "head_dropout": 0.0,
        },
        "sims": {
            "learning_rate_text_encoder": 2e-5,
            "learning_rate_vision": 1e-3,
            "weight_decay_audio": 0.0,
            "weight_decay_vision": 0.0,
            "weight_decay": 0.0,
            "audio_hidden": 16,
            "vision_hidden": 32,
            "width": 32,
            "layers": 4,
            "attention_dropout": 0.0,
            "feed_forward_dropout": 0.0,
            "head_dropout": 0.0,
            "attraction_weight": 0.5,
            "reconstruction_weight": 0.5,
        },
        "demo": {
            "epochs": 8,
            "batch_size": 16,
            "accumulate": 1,
            "finetune_text_encoder": False,
            "width": 32,
            "layers": 2,
            "attention_dropout": 0.0,
            "feed_forward_dropout": 0.0,
            "head_dropout": 0.0,
        },
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        inputs = {"text": encoder.width, "audio": spec.audio, "vision": spec.vision}
        widths = {"text": encoder.width, "audio": h.audio_width, "vision": h.vision_width}
        vectors = {**widths, _CONTEXT: len(MODALITIES) * h.width}
        bottlenecks = (h.text_bottleneck, h.audio_bottleneck, h.vision_bottleneck, h.context_bottleneck)
        self.recurrent = nn.ModuleDict(
            {
                "audio": RecurrentEncoder(spec.audio, h.audio_hidden, h.audio_width),
                "vision": RecurrentEncoder(spec.vision, h.vision_hidden, h.vision_width),
            }
        )
        self.projection = nn.ModuleDict({name: _linear_or_nothing(widths[name], h.width) for name in MODALITIES})
        self.fusion = Fusion(
            h.width, h.heads, h.layers, attention_dropout=h.attention_dropout, dropout=h.feed_forward_dropout
        )
        self.projector = nn.ModuleDict(
            {name: nn.Sequential(nn.Linear(n, n), BatchNorm(n, affine=False)) for name, n in vectors.items()}
        )
        self.predictor = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(n, p, bias=False), BatchNorm(p), nn.ReLU(), nn.Linear(p, n))
                for (name, n), p in zip(vectors.items(), bottlenecks, strict=True)
            }
        )
        self.reconstruction = nn.ModuleDict({name: nn.Linear(h.width, inputs[name]) for name in MODALITIES})
        self.head = nn.Sequential(
            nn.Dropout(h.head_dropout),
            nn.Linear(sum(vectors.values()), h.head_width),
            nn.ReLU(),
            nn.Linear(h.head_width, h.head_width),
            nn.ReLU(),
            nn.Linear(h.head_width, spec.outputs),
        )

    def view(self, batch: Batch) -> View:
        """Encode and fuse the modalities."""
        hidden = self.encoder(batch.text)
        # The vector of the text is its first position, [CLS]. The sequence starts behind it; [CLS] goes to the end, so
        # that a text of one position has a sequence, too.
        text = hidden.roll(-1, 1)
        steps, vectors = {"text": text}, {"text": hidden[:, 0]}
        for name, encoder in self.recurrent.items():
            sequence = getattr(batch, name)
            steps[name], vectors[name] = encoder(sequence.values, sequence.lengths_on_cpu)
        seen = {"text": words(batch), "audio": batch.audio.valid.clone(), "vision": batch.vision.valid.clone()}
        for positions_seen in seen.values():
            positions_seen[:, 0] |= ~positions_seen.any(1)  # an attention to nothing is NaN
        context = torch.stack([self.projection[name](vectors[name]) for name in MODALITIES], 1)
        sequences = {name: self.projection[name](steps[name]) for name in MODALITIES}
        context, sequences = self.fusion(context, sequences, seen)
        return View({**vectors, _CONTEXT: context.flatten(1)}, sequences, text)

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the corrupted input alone."""
        joint = self.view(batch).joint
        return Prediction(self.readout(self.head(joint)), joint)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the errors of both views, the attraction of each vector, and each reconstruction error."""
        h, clean = self.hyperparameters, batch.clean
        complete, corrupted = self.view(clean), self.view(batch)
        errors = {
            name: self.error(self.readout(self.head(view.joint)), batch.label)
            for name, view in (("complete", complete), ("sentiment", corrupted))
        }
        terms = {"sentiment": errors["sentiment"], "complete": h.attraction_weight * errors["complete"]}
        for name, projector in self.projector.items():
            first, second = projector(complete.vectors[name]), projector(corrupted.vectors[name])
            both = attraction(self.predictor[name](first), second) + attraction(self.predictor[name](second), first)
            terms[f"{name}_attraction"] = h.attraction_weight * both / 2
        targets = {"text": complete.text.detach(), "audio": clean.audio.values, "vision": clean.vision.values}
        for name in MODALITIES:
            missing = getattr(clean, name).observed & ~getattr(batch, name).observed
            if name == "text":
                missing = missing.roll(-1, 1) & words(batch)
            error = reconstruction_error(self.reconstruction[name](corrupted.sequences[name]), targets[name], missing)
            terms[f"{name}_reconstruction"] = h.reconstruction_weight * error
        return terms

    def parameter_groups(self) -> list[dict]:
        """Text encoder with and without weight decay, audio LSTM, vision LSTM, and the rest."""
        h = self.hyperparameters
        rest = [p for n, p in self.named_parameters() if not n.startswith(("encoder.", "recurrent."))]
        audio, vision = (list(self.recurrent[name].parameters()) for name in ("audio", "vision"))
        return [
            *self.text_encoder_groups(
                learning_rate=h.learning_rate_text_encoder, weight_decay=h.weight_decay_text_encoder
            ),
            {"name": "audio", "params": audio, "lr": h.learning_rate_audio, "weight_decay": h.weight_decay_audio},
            {"name": "vision", "params": vision, "lr": h.learning_rate_vision, "weight_decay": h.weight_decay_vision},
            {"name": "method", "params": rest, "lr": h.learning_rate, "weight_decay": h.weight_decay},
        ]


def words(batch: Batch) -> Tensor:
    """Return where the text holds a word, from its second position on [B, T]: neither [CLS] nor [SEP] nor padding."""
    return words_of(batch.text.valid).roll(-1, 1)


@float32
def attraction(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the negative mean cosine of predictions and targets [B, d]; no gradient reaches the targets."""
    return -F.cosine_similarity(prediction, target.detach(), dim=1).mean()


def _linear_or_nothing(inputs: int, outputs: int, *, bias: bool = False) -> nn.Module:
    """Return a linear layer, or nothing where both widths are the same."""
    return nn.Identity() if inputs == outputs else nn.Linear(inputs, outputs, bias=bias)
