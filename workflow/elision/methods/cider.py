"""CIDer: a model that is its own teacher for incomplete input, with classifiers that average over class prototypes.

Attention to the text shortens audio and vision to the length of the text. Transformer layers attend within each set of
modalities. The model reads each utterance twice, complete and incomplete. What it makes of the incomplete utterance
should have the same attention and the same joint vector, and should give back what is missing. A classifier for each
class reads the joint vector beside the prototype of that class, and the answers are averaged (a back-door adjustment).

The method predicts classes. For scores, the classes are intervals: seven around whole numbers, or negative, zero and
positive (``score_classes``). The score is the expected value: the mean score of each class in the training split, times
its probability. This rule is ours.

The file has the hyperparameters of the released script for MOSI. Differences from the released code:

- Positions count time. The code numbers the utterances of a batch instead, so that a prediction depends on its place in
  the batch (``positions: batch``).
- Padding is masked in the attention of the layers, in the pooling and in the distillation. The code attends to padding
  (``mask_padding: false``). Positions of audio and vision begin at one and two padded lengths of the text.
- A batch has two steps, of the complete and of the incomplete input. The code keeps the gradient of the first step for
  the second one (``keep_gradient: true``).
- Prototypes are means over the training split. A pass before the first epoch computes them, with the text encoder as it
  starts. The code reads them from files, for tests from a file of the test split. How their text part was made is
  unknown.
- The counterfactual correction subtracts ``tau`` times the answer to a text of biased words alone. ``tau`` is 0 or a
  fixed number. The code tries 31 numbers on the test split and keeps the best one for each metric.
- The code stops after its first epoch with an error. Here the validation split chooses, with the released patience.
- The code loses one half of all positions in training: ``corruption: random`` and ``rates: [0.5]`` do the same.
- A class without a sample in the training split has no share in the average, because its classifier never learns.
- Dropout on attention weights is 0 in the script and is left out. Without ``alignment: none``, the attention that
  shortens audio and vision is left out, too.
"""

from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch, Sequence
from elision.methods.base import Method, Prediction
from elision.methods.layers.crossmodal import check_heads, interleaved_sinusoids
from elision.methods.layers.precision import float32, raised
from elision.methods.layers.reconstruction import reconstruction_error
from elision.methods.layers.text_encoder import words_of
from elision.methods.layers.utterance import mean_over_time
from elision.task import MODALITIES, DataSpec, TaskKind

SUBSETS = ("text audio vision", "text audio", "text vision", "audio vision", "text", "audio", "vision")
_NEVER = -1e9  # score of a position that is not attended
_RARE = 1e-12  # share of a class without a sample, of which a logarithm is taken
_LEAST_VARIATION = 0.1  # of the counts of a biased word in the classes: deviation through mean
_EPSILON = 1e-6


def _packed(width: int) -> nn.Linear:
    """Build the projection to query, key and value, side by side."""
    return _xavier(nn.Linear(width, 3 * width))


def _xavier(linear: nn.Linear) -> nn.Linear:
    nn.init.xavier_uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def masked_softmax(scores: Tensor, seen: Tensor) -> Tensor:
    """Softmax over the last dimension where ``seen``; zeros elsewhere, and where nothing is seen."""
    return scores.masked_fill(~seen, _NEVER).softmax(-1) * seen


class Compression(nn.Module):
    """Attention of the words to the frames of a modality, which gives the modality the length of the text."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project, self.out = _packed(width), _xavier(nn.Linear(width, width))

    def forward(self, text: Tensor, frames: Tensor, words: Tensor, valid: Tensor) -> Tensor:
        """Shorten frames [B, T, width] to [B, L, width].

        Parameters
        ----------
        text : Tensor [B, L, width]
        frames : Tensor [B, T, width]
        words : Tensor [B, L] bool
            Where the text has a word. Elsewhere, nothing is attended.
        valid : Tensor [B, T] bool
        """
        weights, biases = self.project.weight.chunk(3), self.project.bias.chunk(3)
        query, key, value = (
            F.linear(x, *each) for x, *each in zip((text, frames, frames), weights, biases, strict=True)
        )
        scores = raised(query * query.shape[2] ** -0.5) @ raised(key).mT
        attention = masked_softmax(scores, valid[:, None]) * words[..., None]
        return self.out(attention.to(value.dtype) @ value)


class CompositionLayer(nn.Module):
    """Pre-norm attention within every set of modalities, and a feed-forward layer, each with a residual.

    Parameters
    ----------
    width, heads : int
        ``heads`` must divide ``width``.
    relu_dropout, residual_dropout : float
        Inside the feed-forward layer, and before each residual.
    """

    def __init__(self, width: int, heads: int, relu_dropout: float, residual_dropout: float) -> None:
        super().__init__()
        self.heads = check_heads(heads, width)
        self.norm, self.norm_feed_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project = _packed(width)
        self.of_subset = nn.ModuleDict({subset: _xavier(nn.Linear(width, width)) for subset in SUBSETS})
        self.summary = nn.ModuleDict({name: nn.Linear(4 * width, width) for name in MODALITIES})
        self.out = nn.Linear(width, width)
        self.expand, self.contract = _xavier(nn.Linear(width, 4 * width)), _xavier(nn.Linear(4 * width, width))
        self.relu_dropout, self.residual_dropout = nn.Dropout(relu_dropout), nn.Dropout(residual_dropout)

    def forward(self, x: Tensor, attended: Tensor) -> tuple[Tensor, Tensor]:
        """Turn the modalities one after the other [B, 3 L, width] into the same shape, where ``attended`` [B, 3 L].

        Returns
        -------
        x : Tensor [B, 3 L, width]
        scores : Tensor [B, heads, 3 L, 3 L]
            Of the attention, before any softmax.
        """
        query, key, value = (
            each.unflatten(2, (self.heads, -1)).transpose(1, 2) for each in self.project(self.norm(x)).chunk(3, 2)
        )
        scores = raised(query * query.shape[3] ** -0.5) @ raised(key).mT
        x = x + self.residual_dropout(self.attend(scores, value, attended))
        hidden = self.relu_dropout(F.relu(self.expand(self.norm_feed_forward(x))))
        return x + self.residual_dropout(self.contract(hidden)), scores

    def attend(self, scores: Tensor, value: Tensor, attended: Tensor) -> Tensor:
        """Attend within every set of modalities, and join what comes of it [B, 3 L, width].

        Attention within a set is a mix of the attentions to its modalities. The share of each in the mix is the
        softmax over their summed exponentials.
        """
        length = attended.shape[1] // len(MODALITIES)
        found, mass = [], []
        parts = scores.split(length, 3), value.split(length, 2), attended[:, None, None].split(length, 3)
        for part, values, seen in zip(*parts, strict=True):
            found.append((masked_softmax(part, seen).to(values.dtype) @ values).split(length, 2))
            mass.append(part.masked_fill(~seen, _NEVER).logsumexp(3).split(length, 2))
        joined = []
        for rows, name in enumerate(MODALITIES):
            made = []
            for subset, layer in self.of_subset.items():
                if name not in subset.split():
                    continue
                inside = [MODALITIES.index(other) for other in subset.split()]
                shares = torch.stack([mass[other][rows] for other in inside]).softmax(0)[..., None]
                of_others = torch.stack([found[other][rows] for other in inside])
                made.append(layer((shares.to(of_others.dtype) * of_others).sum(0).transpose(1, 2).flatten(2)))
            joined.append(self.summary[name](torch.cat(made, 2)))
        return self.out(torch.cat(joined, 1))


class Pooling(nn.Module):
    """Attention pooling over time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, x: Tensor, attended: Tensor) -> Tensor:
        """Summarise steps [B, L, width] in [B, width]; zeros without an attended step."""
        weights = masked_softmax(raised(self.score(x).squeeze(2)), attended)
        return (weights[:, None].to(x.dtype) @ x).squeeze(1)


class View(NamedTuple):
    """What the model makes of one view of a batch.

    Attributes
    ----------
    log_probabilities : Tensor [B, K]
    joint : Tensor [B, 3 width]
    scores : Tensor [B, heads, 3 L, 3 L]
        Of the last layer.
    steps : dict of str to Tensor [B, L, width]
        After the layers, by modality; zeros where nothing is attended.
    attended : Tensor [B, L] bool
    tokens : Tensor [B, L, d]
        Output of the text encoder.
    """

    log_probabilities: Tensor
    joint: Tensor
    scores: Tensor
    steps: dict[str, Tensor]
    attended: Tensor
    tokens: Tensor


class CIDer(Method):
    """Zhong, Huan, Wu, Liang and Chen, 2025.

    Attributes
    ----------
    prototypes : Tensor [K, sum of widths]
        Mean vector of the text, the audio and the vision of each class in the training split, side by side.
    frequencies : Tensor [K]
        Of the classes in the training split.
    class_scores : Tensor [K]
        Mean score of each class in the training split, where labels are scores.
    biased : Tensor [V] bool
        Which tokens the counterfactual text keeps, where ``tau`` is not 0.
    """

    name = "cider"
    paper = (
        "Zhong, Huan, Wu, Liang, Chen: Towards Robust Multimodal Emotion Recognition under Missing Modalities and "
        "Distribution Shifts. 2025, arXiv 2506.10452"
    )
    requires = ("text",)
    needs_complete = True
    optimizer = torch.optim.Adam
    compiled = ("view", "predict")
    sums_gradients = False
    official_counts: ClassVar[dict[str, int]] = {"mosi": 284_286, "mosei": 298_809}
    compared = "equal; with three classes 276,566 (mosi) and 291,089 (mosei), equal, too"
    small: ClassVar[dict] = {
        "layers": 2,
        "relu_dropout": 0.0,
        "residual_dropout": 0.0,
        "embedding_dropout": 0.0,
        "joint_dropout": 0.0,
    }

    class Hyperparameters(Method.Hyperparameters):
        """Those of the released script for MOSI."""

        epochs: int = Field(200, ge=0, description="most passes over the training split")
        batch_size: int = Field(128, ge=1, description="utterances per forward pass")
        accumulate: int = Field(1, ge=1, le=1, description="always 1: every batch is two steps")
        patience: int | None = Field(
            10, ge=1, description="epochs without a better validation score after which training stops"
        )
        learning_rate: float = Field(1e-3, gt=0, description="learning rate of all weights but the text encoder")
        learning_rate_text_encoder: float = Field(5e-5, gt=0, description="learning rate of the text encoder")
        weight_decay_text_encoder: float = Field(1e-3, ge=0, description="L2 penalty on the text encoder")
        width: int = Field(32, ge=1, description="width of all sequences after the first convolutions")
        heads: int = Field(8, ge=1, validate_default=True, description="attention heads; they must divide the width")
        layers: int = Field(3, ge=1, description="layers that attend within every set of modalities")
        relu_dropout: float = Field(0.1, ge=0, lt=1, description="dropout inside the feed-forward layers")
        residual_dropout: float = Field(0.1, ge=0, lt=1, description="dropout before each residual")
        embedding_dropout: float = Field(0.2, ge=0, lt=1, description="dropout on the input of the layers")
        joint_dropout: float = Field(0.3, ge=0, lt=1, description="dropout in the projection of the joint vector")
        joint_weight: float = Field(0.5, ge=0, description="weight of the distance of the joint vectors")
        attention_weight: float = Field(0.1, ge=0, description="weight of the divergence of the attentions")
        reconstruction_weight: float = Field(0.6, ge=0, description="weight of the error of what is missing")
        score_classes: Literal[3, 7] = Field(
            7,
            description="classes of scores. 7: whole numbers from -3 to 3. 3: negative, zero and positive",
            json_schema_extra={"released": "3, or 7 in another model"},
        )
        positions: Literal["time", "batch"] = Field(
            "time",
            description="what positions number. time: the steps of an utterance. batch: the utterances of a batch",
            json_schema_extra={"released": "batch"},
        )
        mask_padding: bool = Field(
            True, description="false lets the layers attend to padding", json_schema_extra={"released": False}
        )
        keep_gradient: bool = Field(
            False,
            description="true adds the gradient of the complete input to the step for the incomplete input",
            json_schema_extra={"released": True},
        )
        tau: float = Field(
            0.0,
            ge=0,
            description="strength of the counterfactual correction. The released code tries 0 to 3 in steps of 0.1 on "
            "the test split",
            json_schema_extra={"released": "the best on the test split, for each metric"},
        )
        biased_words: int = Field(
            100, ge=0, description="most frequent biased tokens that the counterfactual text keeps"
        )
        mask_token: int = Field(
            103, ge=0, description="id of [MASK] in the text encoder, for the counterfactual text; BERT has 103"
        )

        @field_validator("heads")
        @classmethod
        def _divide_the_width(cls, heads: int, info: ValidationInfo) -> int:
            return check_heads(heads, info.data.get("width", heads))

    corpus_defaults: ClassVar[dict[str, dict]] = {"demo": {"epochs": 12, "batch_size": 16, "patience": None}}

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h, width = hyperparameters, hyperparameters.width
        if not h.mask_padding and hasattr(encoder, "trims"):
            encoder.trims = False
        self.widths = {"text": encoder.width, "audio": spec.audio, "vision": spec.vision}
        self.scores_are_labels = spec.task is TaskKind.REGRESSION
        count = h.score_classes if self.scores_are_labels else spec.outputs

        self.project = nn.ModuleDict({name: nn.Conv1d(d, width, 1, bias=False) for name, d in self.widths.items()})
        shortened = ("audio", "vision") if h.alignment == "none" else ()
        self.compress = nn.ModuleDict({name: Compression(width) for name in shortened})
        self.recurrent = nn.ModuleDict({name: nn.GRU(width, width, batch_first=True) for name in MODALITIES})
        self.embedding_dropout = nn.Dropout(h.embedding_dropout)
        self.layers = nn.ModuleList(
            CompositionLayer(width, h.heads, h.relu_dropout, h.residual_dropout) for _ in range(h.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.pool = nn.ModuleDict({name: Pooling(width) for name in MODALITIES})
        self.joint = nn.Sequential(
            nn.Linear(3 * width, 3 * width), nn.ReLU(), nn.Dropout(h.joint_dropout), nn.Linear(3 * width, 3 * width)
        )
        self.code = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Linear(d, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
                )
                for name, d in self.widths.items()
            }
        )
        self.classifiers = nn.ModuleList(nn.Linear(6 * width, count) for _ in range(count))
        self.rebuild = nn.ModuleDict({name: nn.Linear(width, d) for name, d in self.widths.items()})
        self.lengthen = nn.ModuleDict(
            {name: nn.Linear(spec.length["text"], spec.length[name]) for name in ("audio", "vision")}
        )

        self.collecting, self.first = False, False
        self.kept_words, self.mask_token = h.biased_words, h.mask_token
        self.register_buffer("prototypes", torch.zeros(count, sum(self.widths.values())))
        self.register_buffer("members", torch.zeros(count, len(MODALITIES)))  # samples with each modality
        self.register_buffer("frequencies", torch.full((count,), 1 / count))
        if self.scores_are_labels:
            self.register_buffer("class_scores", torch.linspace(-spec.label_range, spec.label_range, count))
        if h.tau:
            vocabulary = encoder.model.embeddings.word_embeddings.num_embeddings
            self.register_buffer("words", torch.zeros(vocabulary, count))
            self.register_buffer("biased", torch.zeros(vocabulary, dtype=torch.bool))

    @property
    def one_by_one(self) -> bool:
        """Whether positions number the steps of an utterance."""
        return self.hyperparameters.positions == "time"

    def classes_of(self, label: Tensor) -> Tensor:
        """Return the class [B] of each label; numpy's and PyTorch's rounding of halves to even numbers."""
        if not self.scores_are_labels:
            return label
        if len(self.prototypes) == 3:
            return label.sign().long() + 1
        return (label * 3 / self.spec.label_range).clamp(-3, 3).round().long() + 3

    def _member(self, target: Tensor) -> Tensor:
        """Return ones where samples belong to classes [B, K]."""
        return (target[:, None] == torch.arange(len(self.prototypes), device=target.device)).to(self.prototypes)

    def begin_training(self, labels: Tensor) -> None:
        """Measure the frequency and, of scores, the mean of each class; a class without a sample keeps its middle."""
        member = self._member(self.classes_of(labels))
        count = member.sum(0)
        self.frequencies.copy_(count / count.sum())
        if self.scores_are_labels:
            mean = labels.to(self.frequencies) @ member / count.clamp(min=1)
            self.class_scores.copy_(torch.where(count > 0, mean, self.class_scores))

    def on_epoch_start(self, epoch: int) -> None:
        """The first epoch has a pass that computes the prototypes."""
        self.first, self.collecting = epoch == 1, False

    def passes(self, batches: int) -> list[int]:
        """In the first epoch, a pass for the prototypes and one that learns."""
        return [batches] * (1 + self.first)

    def on_pass_start(self, number: int) -> None:
        """Begin to collect, or finish what was collected."""
        if self.first and number == 0:
            self.collecting = True
            self.prototypes.zero_()
            self.members.zero_()
            if self.hyperparameters.tau:
                self.words.zero_()
        elif self.collecting:
            self.collecting = False
            parts = self.prototypes.split(list(self.widths.values()), 1)
            for part, count in zip(parts, self.members.unbind(1), strict=True):
                part /= count.clamp(min=1)[:, None]
            if self.hyperparameters.tau:
                self._find_biased_words()

    @torch.no_grad()
    def collect(self, batch: Batch) -> None:
        """Add the vectors, and the words, of complete utterances to those of their classes."""
        training = self.encoder.training
        text = Sequence(batch.text.values, batch.text.valid, batch.text.observed)  # of the whole padded length
        tokens = replace_values(text, raised(self.encoder.eval()(text)))
        self.encoder.train(training)
        target = self.classes_of(batch.label)
        member = self._member(target)
        sequences = (tokens, batch.audio, batch.vision)
        self.prototypes += member.T @ torch.cat([mean_over_time(sequence) for sequence in sequences], 1)
        self.members += member.T @ torch.stack([s.observed.any(1) for s in sequences], 1).to(member)
        if self.hyperparameters.tau:
            flat = batch.text.values * len(self.prototypes) + target[:, None]
            counted = words_of(batch.text.valid).to(member).flatten()
            self.words.view(-1).index_add_(0, flat.flatten(), counted)

    def _find_biased_words(self) -> None:
        """Choose the most frequent words whose counts differ between the classes; of three classes, the outer two."""
        counts = self.words[:, [0, 2]] if len(self.prototypes) == 3 and self.scores_are_labels else self.words
        variation = counts.std(1, correction=0) / counts.mean(1).clamp(min=_EPSILON)
        total = self.words.sum(1) * (variation >= _LEAST_VARIATION)
        order = total.argsort(descending=True, stable=True)[: self.kept_words]
        self.biased.zero_()
        self.biased[order] = total[order] > 0

    def _positions(self, like: Tensor, length: int) -> Tensor:
        """Return sines and cosines, taking turns, of what is numbered: [1, 3 length, width], or [B, 1, width]."""
        device = like.device
        if self.one_by_one:
            steps = torch.arange(length, device=device)
            number = torch.cat([steps + part * self.spec.length["text"] for part in range(len(MODALITIES))])
        else:
            number = torch.arange(len(like), device=device)
        table = interleaved_sinusoids(number, like.shape[2])
        return table[None] if self.one_by_one else table[:, None]

    def view(self, batch: Batch, text: Sequence) -> View:
        """Read a batch with some text."""
        tokens = self.encoder(text)
        inputs = {"text": tokens, "audio": batch.audio.values, "vision": batch.vision.values}
        streams = {name: self.project[name](x.transpose(1, 2)).transpose(1, 2) for name, x in inputs.items()}
        for name, compress in self.compress.items():
            streams[name] = compress(streams["text"], streams[name], words_of(text.valid), getattr(batch, name).valid)
        length = tokens.shape[1]
        attended = text.valid if self.hyperparameters.mask_padding else torch.ones_like(text.valid)
        x = torch.cat([self.recurrent[name](streams[name])[0] for name in MODALITIES], 1)
        x = self.embedding_dropout(x + self._positions(x, length))
        for layer in self.layers:
            x, scores = layer(x, attended.repeat(1, len(MODALITIES)))
        steps = dict(zip(MODALITIES, (self.norm(x) * attended.repeat(1, 3)[..., None]).split(length, 1), strict=True))
        pooled = torch.cat([self.pool[name](y, attended) for name, y in steps.items()], 1)
        joint = pooled + self.joint(pooled)
        return View(self.adjust(joint), joint, scores, steps, attended, tokens)

    def adjust(self, joint: Tensor) -> Tensor:
        """Average the answers over the classes: log-probabilities [B, K] from joint vectors [B, 3 width].

        In training, each classifier has the prototype of its class, and its share is the frequency of the class. In
        evaluation, all have the mean prototype. Classes that have samples in the training split have equal shares.
        """
        prototypes, shares = self.prototypes, self.frequencies
        if not self.training:
            shares = (shares > 0) / (shares > 0).sum()
            prototypes = (shares @ prototypes).expand_as(prototypes)
        parts = prototypes.split(list(self.widths.values()), 1)
        codes = torch.cat([code(part) for code, part in zip(self.code.values(), parts, strict=True)], 1)
        answers = [
            raised(classifier(torch.cat([joint, code.expand(len(joint), -1)], 1))).log_softmax(1)
            for classifier, code in zip(self.classifiers, codes, strict=True)
        ]
        return (torch.stack(answers, 1) + shares.clamp(min=_RARE).log()[:, None]).logsumexp(1)

    def counterfactual(self, text: Sequence) -> Sequence:
        """Mask all words that are neither biased nor lost."""
        hidden = words_of(text.valid) & text.observed & ~self.biased[text.values]
        return replace_values(text, torch.where(hidden, self.mask_token, text.values))

    def predict(self, batch: Batch) -> Prediction:
        """Predict log-probabilities of classes, or the expected score."""
        seen, tau = self.view(batch, batch.text), self.hyperparameters.tau
        output = seen.log_probabilities
        if tau:
            of_words = self.view(batch, self.counterfactual(batch.text)).log_probabilities
            output = (output - tau * of_words).log_softmax(1)
        if self.scores_are_labels:
            output = output.exp() @ self.class_scores
        return Prediction(output, seen.joint)

    def complete_terms(self, seen: View, batch: Batch) -> dict[str, Tensor]:
        """Return the error for complete input."""
        return {"complete": F.nll_loss(seen.log_probabilities, self.classes_of(batch.label))}

    def incomplete_terms(self, whole: View, batch: Batch) -> dict[str, Tensor]:
        """Return the error for incomplete input, and its distances from what was made of the complete input."""
        h, seen = self.hyperparameters, self.view(batch, batch.text)
        terms = {
            "incomplete": F.nll_loss(seen.log_probabilities, self.classes_of(batch.label)),
            "joint": h.joint_weight * cosine_distance(seen.joint, whole.joint.detach()),
            "attention": h.attention_weight
            * divergence(seen.scores, whole.scores.detach(), seen.attended.repeat(1, 3)),
        }
        targets = {
            "text": whole.tokens.detach(),
            "audio": batch.clean.audio.values,
            "vision": batch.clean.vision.values,
        }
        for name, target in targets.items():
            steps = seen.steps[name]
            if name in self.lengthen:
                steps = F.relu(self.lengthen[name](steps.mT)).mT
            lost = getattr(batch.clean, name).observed & ~getattr(batch, name).observed
            error = reconstruction_error(self.rebuild[name](steps), target, lost)
            terms[f"{name}_reconstruction"] = h.reconstruction_weight * error
        return terms

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of both steps."""
        whole = self.view(batch.clean, batch.clean.text)
        return {**self.complete_terms(whole, batch), **self.incomplete_terms(whole, batch)}

    def update(self, batch: Batch, optimizers: list[torch.optim.Optimizer], step: int) -> dict[str, Tensor]:
        """Collect, or take a step for the complete and one for the incomplete input."""
        if self.collecting:
            self.collect(batch.clean)
            return {}
        whole = self.view(batch.clean, batch.clean.text)
        terms = self.complete_terms(whole, batch)
        self.descend(terms, optimizers, step)
        others = self.incomplete_terms(whole, batch)
        if not self.hyperparameters.keep_gradient:
            self.descend(others, optimizers, step)
        else:
            self.backward(others)
            for optimizer in optimizers:
                optimizer.step()
        return {name: term.detach() for name, term in {**terms, **others}.items()}

    def parameter_groups(self) -> list[dict]:
        """Text encoder with and without weight decay, and the rest."""
        h = self.hyperparameters
        text = self.text_encoder_groups(
            learning_rate=h.learning_rate_text_encoder, weight_decay=h.weight_decay_text_encoder
        )
        rest = [p for name, p in self.named_parameters() if not name.startswith("encoder.")]
        return [*text, {"name": "method", "params": rest}]


def replace_values(sequence: Sequence, values: Tensor) -> Sequence:
    """Return a sequence with other values."""
    return Sequence(values, sequence.valid, sequence.observed, sequence.known_lengths)


@float32
def cosine_distance(x: Tensor, y: Tensor) -> Tensor:
    """Return one minus the mean cosine of vectors [B, d]."""
    return 1 - F.cosine_similarity(x, y, dim=1).mean()


@float32
def divergence(scores: Tensor, target: Tensor, attended: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of the attention, summed over steps, averaged over utterances and heads.

    Parameters
    ----------
    scores, target : Tensor [B, heads, L, L]
    attended : Tensor [B, L] bool
        Where a step attends and is attended.
    """
    hidden = ~attended[:, None, None]
    mine, its = (each.masked_fill(hidden, _NEVER).log_softmax(3) for each in (scores, target))
    of_steps = (its.exp() * (its - mine)).sum(3) * attended[:, None]
    return of_steps.sum() / (scores.shape[0] * scores.shape[1])
