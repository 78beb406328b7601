"""MoMKE: experts of the modalities, each trained alone, and a mixture of what all of them make of each modality.

An expert is a transformer over the utterances of a dialogue. In the first stage, each expert learns the label from
complete data of its own modality. In the second stage, each available modality passes through all experts. A router
weighs the results for each utterance, and one head reads the weighted results of the three modalities side by side.

The file follows the released code, with these differences:

- One model serves all sets of absent modalities: the second stage is trained under ``corruption: absent``. The
  released code trains one model for each set, and tests the model with the same set. ``mixture_modalities`` does this.
- After the first stage, each expert and its projection go back to their best epoch (``restore: best``). The released
  code means to do so, but loads nothing. The best epoch has the smallest error of the expert on the training split.
  The released code compares training accuracy.
- In training, the released code drops logits of the routers at random. ``drop_router_logits: true`` does the same.
- Epochs of the second stage are chosen on a validation split, and patience counts them alone. The released code
  chooses epochs of both stages on the test split, although the mixture does not learn in the first stage.
- Frames and token vectors are averaged over time. The released code reads one vector per utterance.
- An expert learns nothing from an utterance that never had its modality.
- The experts are stored with the weights of their best epoch: the run file holds them twice.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch, Dialogues
from elision.methods.base import Prediction
from elision.methods.layers.crossmodal import check_heads
from elision.methods.layers.dialogue import DialogueMethod
from elision.methods.layers.precision import raised
from elision.methods.layers.utterance import mean_over_time
from elision.task import MODALITIES, DataSpec, TaskKind


class Perceptron(nn.Module):
    """Linear, GELU, linear, with dropout after the GELU and, if asked for, on the output."""

    def __init__(self, width: int, outputs: int, dropout: float, *, drop_output: bool = True) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(width, width), nn.Linear(width, outputs)
        self.dropout, self.drop_output = nn.Dropout(dropout), drop_output

    def forward(self, x: Tensor) -> Tensor:
        """Turn [..., width] into [..., outputs]."""
        y = self.out(self.dropout(F.gelu(self.hidden(x))))
        return self.dropout(y) if self.drop_output else y


class Unit(nn.Module):
    """Attention among the turns of a dialogue, then a perceptron with a residual; no layer norm, no positions.

    Parameters
    ----------
    width, heads : int
        ``heads`` must divide ``width``.
    dropout, attention_dropout : float
        In the perceptron, and on the attention weights.
    """

    def __init__(self, width: int, heads: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.heads = check_heads(heads, width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.dropout = nn.Dropout(attention_dropout)
        self.perceptron = Perceptron(width, width, dropout)

    def forward(self, x: Tensor, heard: Tensor) -> Tensor:
        """Let turns [D, U, width] attend to those that are ``heard`` [D, U]; a turn without any gets zeros."""
        query, key, value = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        scores = raised(query * query.shape[3] ** -0.5) @ raised(key).mT
        heard = heard[:, None, None]
        weights = scores.masked_fill(~heard, torch.finfo(scores.dtype).min).softmax(3) * heard
        attended = (self.dropout(weights).to(value.dtype) @ value).transpose(1, 2).flatten(2)
        return attended + self.perceptron(attended)


class Expert(nn.Module):
    """Units, each with a residual."""

    def __init__(self, width: int, heads: int, depth: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.units = nn.ModuleList(Unit(width, heads, dropout, attention_dropout) for _ in range(depth))

    def forward(self, x: Tensor, heard: Tensor) -> Tensor:
        """Turn dialogues [D, U, width] into the same shape."""
        for unit in self.units:
            x = x + unit(x, heard)
        return x


class MoMKE(DialogueMethod):
    """Xu, Jiang and Liang, ACM MM 2024.

    Attributes
    ----------
    expert_epochs : int
        Epochs of the first stage.
    epoch : int
        The current epoch, from 1.
    mixing : bool
        Whether the current epoch belongs to the second stage.
    """

    name = "momke"
    paper = (
        "Xu, Jiang, Liang: Leveraging Knowledge of Modality Experts for Incomplete Multimodal Learning. ACM MM 2024, "
        "doi 10.1145/3664647.3681683"
    )
    error_of_scores = "squared"
    corruption = "absent"
    needs_complete = True
    reads = "dialogues"
    reads_text = "vectors"
    optimizer = torch.optim.Adam
    compared = "equal; at GCNet's sizes: 5,395,469 for scores, 5,400,089 for four classes and 5,403,169 for six"
    small: ClassVar[dict] = {"width": 16, "depth": 2, "epochs": 4, "dropout": 0.0}

    class Hyperparameters(DialogueMethod.Hyperparameters):
        """Those of the released script for MOSI."""

        epochs: int = Field(300, ge=0, description="passes over the training split, in both stages together")
        expert_share: float = Field(0.5, ge=0, lt=1, description="share of the epochs that train the experts alone")
        learning_rate: float = Field(1e-4, gt=0, description="learning rate of Adam")
        weight_decay: float = Field(1e-5, ge=0, description="weight decay of Adam, which is added to the gradient")
        width: int = Field(256, ge=1, description="width of the vectors of a modality")
        depth: int = Field(4, ge=1, description="units of each expert")
        heads: int = Field(2, ge=1, validate_default=True, description="attention heads; they must divide the width")
        dropout: float = Field(
            0.5, ge=0, lt=1, description="dropout on the projected vectors, in all perceptrons and before the last head"
        )
        attention_dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the attention weights")
        restore: Literal["best", "last"] = Field(
            "best",
            description="weights with which the experts enter the second stage. best: those of the epoch with the "
            "smallest training error of the expert. last: those of the last epoch",
            json_schema_extra={"released": "last"},
        )
        drop_router_logits: bool = Field(
            False,
            description="true has dropout on the logits of the routers",
            json_schema_extra={"released": True},
        )
        mixture_modalities: tuple[Literal[MODALITIES], ...] = Field(
            MODALITIES,
            min_length=1,
            description="modalities that the second stage and all predictions see; the experts see all",
            json_schema_extra={"released": "each set, in a model of its own"},
        )

        @field_validator("heads")
        @classmethod
        def _divide_the_width(cls, heads: int, info: ValidationInfo) -> int:
            return check_heads(heads, info.data.get("width", heads))

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosei": {"epochs": 100},
        "iemocap": {"epochs": 200, "batch_size": 16},
        "demo": {"epochs": 20, "batch_size": 2, "width": 32, "depth": 2, "dropout": 0.2, "learning_rate": 1e-3},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        self.project = nn.ModuleDict({name: nn.Linear(getattr(spec, name), h.width) for name in MODALITIES})
        self.experts = nn.ModuleDict(
            {name: Expert(h.width, h.heads, h.depth, h.dropout, h.attention_dropout) for name in MODALITIES}
        )
        self.expert_heads = nn.ModuleDict({name: nn.Linear(h.width, spec.outputs) for name in MODALITIES})
        self.routers = nn.ModuleDict(
            {
                name: Perceptron(h.width, len(MODALITIES), h.dropout, drop_output=h.drop_router_logits)
                for name in MODALITIES
            }
        )
        self.dropout = nn.Dropout(h.dropout)
        self.join = nn.Linear(3 * h.width, 3 * h.width)
        self.head = nn.Linear(3 * h.width, spec.outputs)

        self.expert_epochs = int(h.expert_share * h.epochs)
        self.epoch, self.mixing = 1, not self.expert_epochs
        self.register_buffer("errors", torch.zeros(len(MODALITIES)), persistent=False)  # of the epoch, summed
        self.register_buffer("best_errors", torch.full((len(MODALITIES),), torch.inf))
        if h.restore == "best":
            for number, parameter in enumerate(self._restored()):
                self.register_buffer(f"best_{number}", parameter.detach().clone())

    @property
    def selectable(self) -> bool:
        """Whether the mixture learns."""
        return self.mixing

    def _restored(self) -> list[nn.Parameter]:
        """Return what goes back to its best epoch: of each modality in turn, expert and projection."""
        return [p for name in MODALITIES for part in (self.experts, self.project) for p in part[name].parameters()]

    def _vectors(self, batch: Batch, seen: tuple[str, ...] = MODALITIES) -> tuple[Tensor, Tensor]:
        """Return the projected vectors of the modalities [3, B, width], and whether each is available [3, B]."""
        vectors, available = [], []
        for name in MODALITIES:
            sequence = getattr(batch, name)
            here = sequence.observed.any(1) & (name in seen)
            vectors.append(self.project[name](mean_over_time(sequence) * here[:, None]))
            available.append(here)
        return self.dropout(torch.stack(vectors)), torch.stack(available)

    def expert_outputs(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """Return the outputs [B, outputs] of each expert for its own modality, and where that is available [3, B]."""
        dialogues, (vectors, available) = self.dialogues(batch), self._vectors(batch)
        outputs = {}
        for name, vector, here in zip(MODALITIES, vectors, available, strict=True):
            made = self.experts[name](dialogues.padded(vector), dialogues.padded(here))
            outputs[name] = self.expert_heads[name](dialogues.flat(made))
        return outputs, available

    def mix(self, batch: Batch) -> Tensor:
        """Return what the experts make of all available modalities, weighed and joined [B, 3 width]."""
        dialogues = self.dialogues(batch)
        vectors, available = self._vectors(batch, self.hyperparameters.mixture_modalities)
        weights = torch.stack([self.routers[name](v) for name, v in zip(MODALITIES, vectors, strict=True)]).softmax(2)
        x, heard = _padded(vectors, dialogues), _padded(available, dialogues)
        made = [_flat(expert(x, heard), dialogues) for expert in self.experts.values()]
        mixed = (torch.stack(made, 3) * weights[:, :, None]).sum(3) * available[..., None]
        joined = torch.cat(mixed.unbind(), 1)
        return joined + self.dropout(self.join(joined).relu())

    def predict(self, batch: Batch) -> Prediction:
        """Predict each utterance from the mixture."""
        joined = self.mix(batch)
        return Prediction(self.readout(self.head(joined)), joined)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error of each expert on complete data; in the second stage, that of the mixture."""
        if self.mixing:
            return {"label": self.error(self.predict(batch).output, batch.label)}
        outputs, available = self.expert_outputs(batch.clean)
        return {
            name: _mean(self._errors(outputs[name], batch.label), here)
            for name, here in zip(MODALITIES, available, strict=True)
        }

    def _errors(self, output: Tensor, label: Tensor) -> Tensor:
        """Return the error of each utterance [B]."""
        output = raised(self.readout(output))
        if self.spec.task is TaskKind.CLASSIFICATION:
            return F.cross_entropy(output, label, reduction="none")
        return F.mse_loss(output, label, reduction="none")

    def on_epoch_start(self, epoch: int) -> None:
        """Begin an epoch of one of the stages."""
        self.epoch, self.mixing = epoch, epoch > self.expert_epochs
        self.errors.zero_()

    def update(self, batch: Batch, optimizers: list[torch.optim.Optimizer], step: int) -> dict[str, Tensor]:
        """Learn from one batch of dialogues, and note the errors of the experts."""
        terms = super().update(batch, optimizers, step)
        if not self.mixing:
            self.errors += torch.stack([terms[name] for name in MODALITIES]) * len(batch)
        return terms

    @torch.no_grad()
    def on_epoch_end(self, error: float) -> None:
        """Keep the weights of each expert that was never better; after the first stage, restore the best ones."""
        if self.hyperparameters.restore == "last" or self.mixing:
            return
        better = self.errors < self.best_errors
        self.best_errors.copy_(torch.minimum(self.errors, self.best_errors))
        restored = self._restored()
        for number, parameter in enumerate(restored):
            best = self.get_buffer(f"best_{number}")
            best.copy_(torch.where(better[number * len(MODALITIES) // len(restored)], parameter, best))
            if self.epoch == self.expert_epochs:
                parameter.copy_(best)


def _mean(errors: Tensor, here: Tensor) -> Tensor:
    """Average errors [B] over the utterances that are ``here`` [B]; zero without any."""
    return (errors * here).sum() / here.sum().clamp(min=1)


def _padded(of_modalities: Tensor, dialogues: Dialogues) -> Tensor:
    """Put what belongs to utterances [3, B, ...] into dialogues, those of a modality after those of another."""
    return torch.cat([dialogues.padded(each) for each in of_modalities])


def _flat(turns: Tensor, dialogues: Dialogues) -> Tensor:
    """Undo `_padded`: put [3 D, U, width] into the order of the utterances [3, B, width]."""
    return torch.stack([dialogues.flat(each) for each in turns.chunk(len(MODALITIES))])
