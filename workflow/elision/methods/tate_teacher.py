"""The teacher of TATE: the same network without the decoder, which learns from complete data.

Each modality attends to itself. Pairs of modalities share projections into a common space, and the sequences follow
each other there. A tag of four numbers at every step says which modalities are absent. An encoder reads all steps, and
an attention over time makes the vector that is classified. TATE is drawn to the output of the encoder.

The file follows the official code (``saved-model/network.py``). What differs from the official code:

- The tag says what is absent (``tag: real``). The code compares a placeholder of TensorFlow with an integer, which is
  never equal. In the stored graph of the released checkpoint, all 32 samples of a batch therefore have the tag of
  missing text, (0, 0, 0, 1) (``tag: constant``).
- Padding is neither attended by the encoder nor part of the vector. ``mask_padding: false`` lets padding take part, as
  in the code, up to the padded length of the dataset.
- Dropout acts in training alone. The code has dropout in tests, too.
- The decoder of the released graph is left out. Its output goes nowhere, and only its penalty changes the decoder.
- A tag for three absent modalities, (0, 1, 1, 1), is ours. The code has no such sample.
- The bias of the last layer starts at 0. In the code, the bias starts at a random number of up to 1.2.
- ``train.selection`` chooses the epoch. The script of TATE has the checkpoint of step 260, whose choice is not told.
- Scores are ours: the absolute error in place of the cross-entropy. Both are summed over the batch, as in the code.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch, Sequence
from elision.methods.base import Method, Prediction, TrainingHyperparameters
from elision.task import MODALITIES, DataSpec

TAG = 1 + len(MODALITIES)
_PAIRS = (("audio", "vision"), ("text", "vision"), ("text", "audio"))
_ORDER = ("vision", "audio", "text")  # of the sequences and, after the entry of complete samples, of the tag


class AttentionBlock(nn.Module):
    """Attention of a sequence to itself and a feed-forward layer, with a residual and a layer norm after each.

    Queries, keys and values have no bias, and their heads no output projection.

    Parameters
    ----------
    width, heads : int
        ``heads`` must divide ``width``.
    dropout : float
        On the attention weights.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.norm, self.norm_feed_forward = (nn.LayerNorm(width, eps=1e-8) for _ in range(2))
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Encode [B, T, width]; positions that are not ``seen`` [B, T] neither ask nor answer."""
        query, key, value = (
            project(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for project in (self.query, self.key, self.value)
        )
        asked = seen.clone()
        asked[:, 0] |= ~seen.any(1)  # a softmax over nothing is NaN; what it answers is dropped
        answer = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=asked[:, None, None],
            dropout_p=self.dropout.p if self.training else 0.0,
        )
        x = self.norm(x + answer.transpose(1, 2).flatten(2) * seen[..., None])
        return self.norm_feed_forward(x + self.feed_forward(x))


class SigmoidAttention(nn.Module):
    """Mean over time, with weights from gated steps: softmax of W_r (W_u x * sigmoid(W_m x)).

    Parameters
    ----------
    width : int
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value, self.gate = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Average the positions of [B, T, width] that are ``seen`` [B, T], of which each sample has one."""
        score = self.score(self.value(x) * self.gate(x).sigmoid()).masked_fill(~seen[..., None], -torch.inf)
        return (score.softmax(1) * x).sum(1)


@dataclass
class Encoding:
    """What the network makes of a batch.

    Attributes
    ----------
    joint : Tensor [B, T, width + 4]
        Input of the encoder: the modalities one after the other, with the tag at every step.
    encoded : Tensor [B, T, width + 4]
        Output of the encoder.
    seen : Tensor [B, T] bool
        The steps that take part.
    tag : Tensor [B, 4]
    pooled : Tensor [B, width + 4]
        Mean over time.
    representation : Tensor [B, width]
        What the last layer reads.
    output : Tensor [B] or [B, C]
    """

    joint: Tensor
    encoded: Tensor
    seen: Tensor
    tag: Tensor
    pooled: Tensor
    representation: Tensor
    output: Tensor


class TATETeacher(Method):
    """Zeng, Liu and Zhou, SIGIR 2022."""

    name = "tate_teacher"
    corruption = "complete"
    paper = (
        "Zeng, Liu, Zhou: Tag-assisted Multimodal Sentiment Analysis under Uncertain Missing Modalities. SIGIR 2022, "
        "arXiv 2204.13707"
    )
    reads_text = "vectors"
    told_absent = True
    optimizer = torch.optim.Adam
    official_counts: ClassVar[dict[str, int]] = {"sims": 4_862_049}
    compared = (
        "equal without the decoder (1,019,312), which nothing reads, and six matrices that nothing uses "
        "(360,600); with its three classes 4,862,651"
    )
    small: ClassVar[dict] = {"width": 8, "dropout": 0.0}

    constant_tag: ClassVar[tuple[float, ...]] = (0, 0, 0, 1)

    class Hyperparameters(TrainingHyperparameters):
        """Those of the official code."""

        epochs: int = Field(15, ge=0, description="passes over the training split")
        batch_size: int = Field(32, ge=1, description="utterances per forward pass")
        learning_rate: float = Field(1e-3, gt=0, description="learning rate of Adam")
        penalty: float = Field(1e-4, ge=0, description="weight of half the squared norm of all weights")
        width: int = Field(300, ge=4, multiple_of=4, description="width of a step of a modality")
        heads: Literal[1, 2, 4] = Field(4, description="attention heads; they divide the width and the tag")
        dropout: float = Field(0.2, ge=0, lt=1, description="dropout on the attention weights")
        tag: Literal["real", "constant"] = Field(
            "real",
            description="tag of a sample. real: says which modalities are absent. constant: the same tag for every "
            "sample, as the official code has it by mistake",
            json_schema_extra={"released": "constant"},
        )
        mask_padding: bool = Field(
            True,
            description="false lets padding take part in the joint sequence, up to the padded length of the dataset",
            json_schema_extra={"released": False},
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "iemocap": {"penalty": 1e-5},
        "demo": {"epochs": 10, "batch_size": 16, "width": 64},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h, width = hyperparameters, hyperparameters.width
        self.project = nn.ModuleDict({name: nn.Linear(getattr(spec, name), width, bias=False) for name in MODALITIES})
        self.within = nn.ModuleDict({name: AttentionBlock(width, h.heads, h.dropout) for name in MODALITIES})
        self.shared = nn.ModuleDict({"_".join(pair): nn.Linear(width, width // 2, bias=False) for pair in _PAIRS})
        self.joint = AttentionBlock(width + TAG, h.heads, h.dropout)
        self.pool = SigmoidAttention(width + TAG)
        self.dense = nn.Linear(width + TAG, width, bias=False)
        self.head = nn.Linear(width, spec.outputs)
        self.initialise()

    def initialise(self) -> None:
        """Draw the weights of all linear layers anew, with Glorot's uniform distribution; biases are 0."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def tag(self, batch: Batch) -> Tensor:
        """Return the tag [B, 4] of each sample: complete, and absence of vision, of audio and of text."""
        if self.hyperparameters.tag == "constant":
            return batch.rate.new_tensor(self.constant_tag).expand(len(batch), -1)
        absent = ~self.available(batch)[:, [MODALITIES.index(name) for name in _ORDER]]
        return torch.cat([~absent.any(1, keepdim=True), absent], 1).to(batch.rate.dtype)

    def common(self, name: str, sequence: Sequence) -> Tensor:
        """Let a modality [B, T, d] attend to itself, and project it into the common space [B, T, width]."""
        # Lost frames and padding are zeros, and are masked.
        x = self.within[name](self.project[name](sequence.values), (sequence.values != 0).any(2))
        return torch.cat([self.shared["_".join(pair)](x) for pair in _PAIRS if name in pair], 2)

    def encode(self, batch: Batch) -> Encoding:
        """Read a batch as it is, complete or not."""
        sequences = {name: getattr(batch, name) for name in _ORDER}
        seen = torch.cat([sequence.valid for sequence in sequences.values()], 1)
        seen = seen.clone() if self.hyperparameters.mask_padding else torch.ones_like(seen)
        seen[:, 0] |= ~seen.any(1)
        tag = self.tag(batch)
        steps = torch.cat([self.common(name, sequence) for name, sequence in sequences.items()], 1)
        joint = torch.cat([steps, tag[:, None].expand(-1, steps.shape[1], -1).to(steps.dtype)], 2)
        encoded = self.joint(joint, seen)
        pooled = self.pool(encoded, seen)
        representation = self.dense(pooled)
        return Encoding(joint, encoded, seen, tag, pooled, representation, self.readout(self.head(representation)))

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the mean over time."""
        found = self.encode(batch)
        return Prediction(found.output, found.representation)

    def own_terms(self, found: Encoding, label: Tensor, penalised: nn.Module) -> dict[str, Tensor]:
        """Return the error, summed over the batch, and the penalty of some weights."""
        squares = torch.stack([p.square().sum() for p in penalised.parameters()]).sum()
        return {
            "sentiment": len(label) * self.error(found.output, label),
            "penalty": self.hyperparameters.penalty / 2 * squares,
        }

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error, and the penalty of all weights."""
        return self.own_terms(self.encode(batch), batch.label, self)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam, without weight decay."""
        return [self.optimizer(self.trainable(), lr=self.hyperparameters.learning_rate)]

    def after_backward(self) -> None:
        """Clip nothing."""
