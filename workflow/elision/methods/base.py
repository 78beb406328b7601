"""What a method is: a module that turns a batch into named losses and into a prediction."""

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.corruption import noise as noises
from elision.methods.layers.precision import bfloat16_where_it_can, in_float32, raised
from elision.settings.fields import Rates
from elision.settings.params import TrainingCorruption
from elision.task import MODALITIES, DataSpec, TaskKind

if TYPE_CHECKING:
    from elision.methods.layers.retrieval import Database


@dataclass
class Prediction:
    """Output of a method.

    Attributes
    ----------
    output : Tensor [B] or [B, C]
        Predicted score, or class logits.
    representation : Tensor [B, D]
        The fused representation from which it is predicted.
    """

    output: Tensor
    representation: Tensor


class TrainingHyperparameters(BaseModel):
    """What the trainer reads of every method.

    A method extends ``Method.Hyperparameters``. One that has rules of its own for learning rate, weight decay and
    clipping extends this class instead, and overrides ``optimizers`` and ``after_backward``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # A field with ``json_schema_extra={"released": ...}`` is a switch, which docs/methods.md lists: ``released`` is the
    # value that the released code has, words about it, or None where no code was released.

    epochs: int = Field(20, ge=0, description="passes over the training split")
    batch_size: int = Field(32, ge=1, description="utterances per forward pass")
    accumulate: int = Field(1, ge=1, description="batches per optimizer step; their gradients are summed")
    patience: int | None = Field(
        None, ge=1, description="epochs without a better validation score after which training stops"
    )
    finetune_text_encoder: bool = Field(True, description="true trains the text encoder with the rest of the method")
    corruption: TrainingCorruption | None = Field(
        None, description="training corruption of this method (null: train.corruption)"
    )
    rates: Annotated[Rates, Field(min_length=1)] | None = Field(
        None, description="missing rates of the training corruption (null: train.rates, or those of the corruption)"
    )
    with_complete: bool | None = Field(
        None,
        description="true leaves some training samples complete, for corruption: absent or noise (null: "
        "train.with_complete)",
    )
    noise: noises.Kind = Field("gaussian", description="kind of the noise, for corruption: noise")
    intensity: int = Field(100, ge=1, description="time steps of the noise scheduler, for corruption: noise")
    modalities: tuple[Literal[MODALITIES], ...] = Field(
        MODALITIES, min_length=1, description="modalities that the method sees; the others are left out"
    )
    alignment: Literal["none", "words", "pooled"] = Field(
        "none",
        description="what audio and vision are per text token. none: they keep their own frames. words: the "
        "mean of the frames of the token's word. pooled: means over equal parts of the padded "
        "length, as MMSA does with unaligned data",
    )


class Method(nn.Module):
    """Base class of all methods.

    Parameters
    ----------
    hyperparameters : Hyperparameters
    spec : DataSpec
        Sizes of the dataset.
    encoder : nn.Module
        Text encoder: ``encoder(text: Sequence) -> Tensor [B, T, encoder.width]``. Not counted as the method's own.

    Attributes
    ----------
    precision : str
        As ``train.precision``; see `autocast`.
    task : tuple of str
        What the method can be trained for: values of ``TaskKind``, written as a literal.
    paper : str
        One line: authors, venue, arXiv number.
    known_from : str
        What the method was built from, where neither its paper nor its code could be read; the tables mark such rows
        with these words. Written as a literal; empty: from the paper or the code.
    needs : tuple of str
        Teachers: methods whose trained runs it starts from (see ``start``). Written as a literal: the workflow reads it
        without PyTorch.
    corruption : str
        Training corruption of the method: the name of a kind of corruption, written as a literal; empty: that of
        ``train.corruption``. Its hyperparameter ``corruption`` replaces it.
    retrieves : str
        The teacher among them whose retrieval database it searches; a literal, too.
    error_of_scores : str
        Whether the loss takes scores by their ``absolute`` or by their ``squared`` error. Under ``train.watch: loss``,
        the same error of the validation split chooses the checkpoint.
    reads_text : str
        ``tokens``: ids, for a text encoder that is part of the method; ``vectors``: frozen text features; ``nothing``:
        no text encoder is loaded.
    reads : str
        ``utterances``, each by itself; or ``dialogues``: the utterances of a dialogue together (see
        ``methods.layers.dialogue``). A literal.
    told_absent : bool
        Whether a prediction is told which modalities are absent (``available``), and so which are noisy. Written as a
        literal. Others see zeros or noise, and unknown tokens.
    requires : tuple of str
        Modalities without which it is not the method.
    needs_complete : bool
        Whether it learns from ``batch.clean``, so that it cannot be trained under ``train.clean: hidden``. Written as a
        literal; a method that starts from a teacher need not say so, if the teacher is trained on complete data.
    uses_pooler : bool
        Whether the text encoder keeps its pooler (``encoder.pool``).
    compiled : tuple of str
        Functions of the method that ``train.compile`` compiles: those that `update` and the trainer call.
    optimizer : type of torch.optim.Optimizer
        What `optimizers` makes of ``parameter_groups``.
    corpus_defaults : dict of str to dict
        Values that differ from the defaults of ``Hyperparameters``, per ``Corpus.defaults``: the official ones, and
        ours for ``demo``.
    floor : bool
        Whether the report names every method that is worse than this one. Written as a literal.
    own_epochs : bool
        Whether no gradient trains it, so that ``train.epochs`` leaves its number of epochs alone.
    sees_padding : str
        Why its predictions depend on how far a batch is padded; empty: they do not.
    combines : bool
        Whether it predicts from the modalities together, and can learn what only all of them tell.
    sums_gradients : bool
        Whether ``accumulate`` does what `descend` says, and nothing else.
    counts : tuple of str
        What `update` returns beside the terms of the loss: shares that ``history.csv`` tells.
    official_counts : dict of str to int
        Parameters at the official sizes of a corpus (key of ``OFFICIAL_SPECS``), without the text encoder.
    compared : str
        How ``official_counts`` compare with the classes that the authors released.
    small : dict
        Hyperparameters with which the checks train it in a moment; they change nothing else.
    exceptions : dict of str to dict
        What `elision check` finds and the method has all the same: by name of the check, reasons by what the finding is
        about (a parameter, a line, an input; ``*`` stands for any characters).
    """

    precision: Literal["float32", "bfloat16"] = "float32"

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    known_from: ClassVar[str] = ""
    task: ClassVar[tuple[str, ...]] = ("regression", "classification")
    needs: ClassVar[tuple[str, ...]] = ()
    corruption: ClassVar[str] = ""
    retrieves: ClassVar[str] = ""
    error_of_scores: ClassVar[Literal["absolute", "squared"]] = "absolute"
    reads_text: ClassVar[Literal["tokens", "vectors", "nothing"]] = "tokens"
    reads: ClassVar[Literal["utterances", "dialogues"]] = "utterances"
    told_absent: ClassVar[bool] = False
    requires: ClassVar[tuple[str, ...]] = ()
    needs_complete: ClassVar[bool] = False
    uses_pooler: ClassVar[bool] = False
    compiled: ClassVar[tuple[str, ...]] = ("loss", "predict")
    optimizer: ClassVar[type[torch.optim.Optimizer]] = torch.optim.AdamW
    corpus_defaults: ClassVar[dict[str, dict]] = {}
    floor: ClassVar[bool] = False
    own_epochs: ClassVar[bool] = False
    sees_padding: ClassVar[str] = ""
    combines: ClassVar[bool] = True
    sums_gradients: ClassVar[bool] = True
    counts: ClassVar[tuple[str, ...]] = ()
    official_counts: ClassVar[dict[str, int]] = {}
    compared: ClassVar[str] = "equal"
    small: ClassVar[dict] = {}
    exceptions: ClassVar[dict[str, dict[str, str]]] = {}

    class Hyperparameters(TrainingHyperparameters):
        """What `parameter_groups` and `after_backward` of this class read, beside what the trainer reads."""

        learning_rate: float = Field(
            1e-4, gt=0, description="learning rate of all weights except those of the text encoder"
        )
        learning_rate_text_encoder: float | None = Field(
            None, gt=0, description="learning rate of the text encoder (null: learning_rate)"
        )
        weight_decay: float = Field(0.0, ge=0, description="weight decay of all weights, text encoder included")
        gradient_clip: float | None = Field(
            None, gt=0, description="largest norm of the gradient of all weights (null: no limit)"
        )

    def __init_subclass__(cls, **settings: Any) -> None:
        """Counts are of one released class, not of what extends it."""
        super().__init_subclass__(**settings)
        for fact in ("official_counts", "compared"):
            if fact not in vars(cls):
                setattr(cls, fact, getattr(Method, fact))

    def __init__(self, hyperparameters: TrainingHyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__()
        self.hyperparameters = hyperparameters
        self.spec = spec
        self.encoder = encoder
        if hasattr(encoder, "trims"):
            encoder.trims = not self.sees_padding
        if not hyperparameters.finetune_text_encoder:
            self.encoder.requires_grad_(False)

    def autocast(self, device: torch.device) -> AbstractContextManager:
        """Compute in ``precision`` inside the block, which holds one `update`, `predict` or the like."""
        return bfloat16_where_it_can(device) if self.precision == "bfloat16" else nullcontext()

    def train(self, mode: bool = True) -> "Method":
        """Switch between training and evaluation; a frozen text encoder stays without dropout."""
        super().train(mode)
        if not self.hyperparameters.finetune_text_encoder:
            self.encoder.eval()
        return self

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the named terms of the loss, already weighted; their sum is minimised."""
        raise NotImplementedError

    def predict(self, batch: Batch) -> Prediction:
        """Predict from what is observed; never looks at ``batch.label`` or ``batch.clean``."""
        raise NotImplementedError

    @property
    def one_by_one(self) -> bool:
        """Whether the prediction of an utterance follows from that utterance alone, whatever else is in its batch."""
        return True

    def readout(self, x: Tensor) -> Tensor:
        """Turn the output [B, outputs] of a last layer into scores [B], or class logits [B, C]."""
        return x.squeeze(1) if self.spec.task is TaskKind.REGRESSION else x

    def error(self, output: Tensor, label: Tensor) -> Tensor:
        """Return the mean ``error_of_scores`` of scores [B], or the cross-entropy of class logits [B, C]."""
        output = raised(output)
        if self.spec.task is TaskKind.CLASSIFICATION:
            return F.cross_entropy(output, label)
        return F.mse_loss(output, label) if self.error_of_scores == "squared" else F.l1_loss(output, label)

    def available(self, batch: Batch) -> Tensor:
        """Return which of text, audio and vision each sample has as a whole, if partly [B, 3] bool."""
        return batch.rate < 1

    def start(self, teachers: "dict[str, Method]", database: "Database | None") -> None:
        """Take what the method starts from; called once after building, before training and before evaluation.

        Parameters
        ----------
        teachers : dict of str to Method
            The trained methods of ``needs``, in evaluation mode and frozen, on the device; none before an evaluation,
            where the method's own weights are loaded afterwards. What is kept of them and is no part of the method
            must not be registered as a submodule.
        database : Database or None
            The retrieval database of ``retrieves``.
        """

    def begin_training(self, labels: Tensor) -> None:
        """Prepare buffers that need the training labels [N]; called once, before the first epoch."""

    def on_epoch_start(self, epoch: int) -> None:
        """Prepare an epoch, counted from 1."""

    def passes(self, batches: int) -> list[int]:
        """Return the number of batches of each pass over the training split in an epoch; each is shuffled anew."""
        return [batches]

    def on_pass_start(self, number: int) -> None:
        """Prepare a pass of an epoch, counted from 0."""

    def on_epoch_end(self, error: float) -> None:
        """Finish an epoch, knowing the error of the validation split."""

    def on_train_end(self) -> None:
        """Finish after the last epoch."""

    def trainable(self) -> list[nn.Parameter]:
        """Return all parameters that are trained, those of the text encoder included."""
        return [p for p in self.parameters() if p.requires_grad]

    def modality_of(self, name: str) -> str | None:
        """Return the modality whose encoder a parameter belongs to; None: it belongs to several, or to none.

        By default, the text encoder is the text's, and any other parameter is that of the one modality in its name
        (``projections.audio.weight``).
        """
        if name.startswith("encoder."):
            return "text"
        named = [modality for modality in MODALITIES if modality in re.split(r"[._]", name)]
        return named[0] if len(named) == 1 else None

    def parameter_groups(self) -> list[dict]:
        """Optimizer groups, with what differs from ``learning_rate`` and ``weight_decay``; text encoder and rest."""
        h = self.hyperparameters
        groups = [
            {
                "name": "method",
                "params": [p for n, p in self.named_parameters() if not n.startswith("encoder.") and p.requires_grad],
            },
            {
                "name": "text encoder",
                "params": [p for p in self.encoder.parameters() if p.requires_grad],
                "lr": h.learning_rate if h.learning_rate_text_encoder is None else h.learning_rate_text_encoder,
            },
        ]
        return [group for group in groups if group["params"]]

    def text_encoder_groups(self, *, learning_rate: float, weight_decay: float) -> list[dict]:
        """Two groups of the text encoder: biases and layer norms do not decay. None, if it is frozen."""
        decays, rest = [], []
        for name, parameter in self.encoder.named_parameters():
            if parameter.requires_grad:
                (rest if "bias" in name or "LayerNorm" in name else decays).append(parameter)
        groups = [
            {"name": "text encoder", "params": decays, "lr": learning_rate, "weight_decay": weight_decay},
            {"name": "text encoder, no decay", "params": rest, "lr": learning_rate, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """One ``optimizer`` over ``parameter_groups``."""
        h = self.hyperparameters
        return [self.optimizer(self.parameter_groups(), lr=h.learning_rate, weight_decay=h.weight_decay)]

    def learning_rate_factor(self, epoch: int) -> float:
        """Multiplier of the learning rates during an epoch, counted from 1.

        Groups of an optimizer that hold ``"constant": True`` keep theirs.
        """
        return 1.0

    def update(self, batch: Batch, optimizers: list[torch.optim.Optimizer], step: int) -> dict[str, Tensor]:
        """Learn from one batch; ``step`` counts the batches of the pass from 0.

        Override only for unusual optimisation.
        """
        terms = self.loss(batch)
        self.descend(terms, optimizers, step)
        return {name: term.detach() for name, term in terms.items()}

    def descend(self, terms: dict[str, Tensor], optimizers: list[torch.optim.Optimizer], step: int) -> None:
        """Follow the gradient of the summed terms.

        Gradients of ``accumulate`` batches are summed; an incomplete group at the end of an epoch is dropped, as in
        MMSA's training loop.
        """
        accumulate = self.hyperparameters.accumulate
        if step % accumulate == 0:
            for optimizer in optimizers:
                optimizer.zero_grad()
        self.backward(terms)
        if (step + 1) % accumulate == 0:
            for optimizer in optimizers:
                optimizer.step()

    def backward(self, terms: dict[str, Tensor]) -> None:
        """Add the gradient of the summed terms to those of the weights; each product is as precise as its forward."""
        total = torch.stack(list(terms.values())).sum()
        with in_float32(total):
            total.backward()
            self.after_backward()

    def after_backward(self) -> None:
        """Change the gradients, summed so far, after each batch; limits their norm."""
        if self.hyperparameters.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.parameters(), self.hyperparameters.gradient_clip)
