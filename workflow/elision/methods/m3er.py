"""M3ER: multiplicative multimodal emotion recognition, in our reading of the paper.

A check finds modalities that do not fit the others, as noise does not. A proxy that follows from the other modalities
takes the place of such a modality. A memory reads the three sequences step by step. Each modality also predicts alone,
and the multiplicative loss plays down the error of a modality that is unreliable for the sample.

No code was released. The paper is Mittal et al., AAAI 2020, arXiv 1911.05659. The formulas are known from accounts of
the paper and were not compared with its printed equations, so the parts have no numbers here. Where the parts are:

- Modality check by canonical correlation: `Pair.correlation` and `M3ER.effectual`. A modality is ineffectual if its
  correlation with every other modality is below ``threshold``.
- Proxy features, linear combinations of training vectors: `Pair.translate` and `M3ER.repair`.
- Fusion by an LSTM per modality, attention and a memory: `Memory`.
- Multiplicative loss: `multiplicative_loss`; its original form (Liu et al., 2018): ``combination: original``.
- Ablations: ``check: false``, ``proxy: false``, ``combination: original``, ``combination: none``.

What the paper leaves open, or what this file does otherwise:

- Canonical correlation is of the mean vectors of utterances. A first pass over the training split collects moments of
  all pairs of modalities. Nothing is learnt in this pass. Only what training observes counts, and no modality that is
  absent or noise. So no complete data are needed.
- Canonical vectors and proxies are regularised (``ridge``), on features of variance 1.
- The correlation of two projected vectors is their cosine (``correlation``). Projections are centred on training data.
- An absent modality is ineffectual and is not asked about others. If all modalities are ineffectual, all are kept.
- ``history.csv`` tells the share of observed modalities that are replaced in training (``replaced``).
- A proxy is made frame by frame, and is the mean over what the effectual modalities say of the frame. A frame that is
  lost from an effectual modality stays zeros. Without ``proxy``, an ineffectual modality is zeros.
- Sequences must have one step in common: ``alignment`` gives one vector of audio and vision per text position.
- The attention, candidate and gates of the memory follow the Memory Fusion Network (Zadeh et al., 2018). Each has one
  hidden layer (``inner_width``). The gates read the memory, too.
- The factor of the multiplicative loss has no gradient (``detach_factor``). With a gradient, as the formula is printed,
  the loss falls with the probability of the true class where that is below exp(-(M - 1) / beta). That is 0.37 here.
- The error of the joint prediction has a weight of 1 beside the multiplicative loss (``unimodal_weight``).
- Scores have the absolute error. Alone, the modalities then predict whether the score is negative.
- The six binary labels of MOSEI are no task of Elision.
- The learning rate is 0.001, with 100 epochs and patience. The paper has 0.01 and 500 epochs.
- The training corruption is that of ``train.corruption``.
"""

from itertools import combinations
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Method, Prediction, TrainingHyperparameters
from elision.methods.layers.pooling import mean_observed
from elision.methods.layers.precision import float32, raised
from elision.task import MODALITIES, DataSpec, TaskKind

_SMALL = 1e-6  # variances and probabilities below count as 0


class Moments:
    """Sums over samples of two vectors side by side, and of their products, in float64.

    Parameters
    ----------
    width : int
        Of both together.
    like : Tensor
        On the device.
    """

    def __init__(self, width: int, like: Tensor) -> None:
        # Not every device has float64.
        self.device = torch.device("cpu") if like.device.type == "mps" else like.device
        self.count = torch.zeros((), dtype=torch.float64, device=self.device)
        self.sum, self.products = self.count.new_zeros(width), self.count.new_zeros(width, width)

    def add(self, first: Tensor, second: Tensor, counts: Tensor) -> None:
        """Add vectors [N, d] of both, where they count [N] bool."""
        x = torch.cat([first, second], 1).to(self.device, torch.float64) * counts[:, None].to(self.device)
        self.count += counts.sum().to(self.device)
        self.sum += x.sum(0)
        self.products += x.T @ x

    def standardised(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return means, standard deviations (1 where nothing varies) and the correlations of all entries."""
        count = self.count.clamp(min=1)
        mean = self.sum / count
        covariance = self.products / count - mean[:, None] * mean
        variance = covariance.diagonal()
        deviation = torch.where(variance > _SMALL * (1 + mean.square()), variance, 1.0).sqrt()
        return mean, deviation, covariance / (deviation[:, None] * deviation)


class Pair(nn.Module):
    """Canonical vectors of two modalities, and linear maps from the frames of each to those of the other.

    Parameters
    ----------
    first, second : int
        Widths of both.
    dimensions : int
        Largest number of canonical vectors.

    Attributes
    ----------
    fitted : Tensor [] bool
        Whether training data have had both modalities.
    """

    def __init__(self, first: int, second: int, dimensions: int) -> None:
        super().__init__()
        self.widths = first, second
        count = min(dimensions, first, second)
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))
        for number, (own, other) in enumerate(((first, second), (second, first))):
            self.register_buffer(f"mean_{number}", torch.zeros(own))
            self.register_buffer(f"canonical_{number}", torch.zeros(own, count))
            self.register_buffer(f"map_{number}", torch.zeros(own, other))
            self.register_buffer(f"shift_{number}", torch.zeros(other))

    def fit(self, utterances: Moments, frames: Moments, ridge: float) -> None:
        """Find canonical vectors from mean vectors of utterances, and the maps from frames."""
        first = self.widths[0]
        mean, deviation, correlations = utterances.standardised()
        roots = [_inverse_root(correlations[part, part], ridge) for part in (slice(first), slice(first, None))]
        left, _, right = torch.linalg.svd(roots[0] @ correlations[:first, first:] @ roots[1], full_matrices=False)
        count = self.canonical_0.shape[1]
        found = {
            "canonical_0": roots[0] @ left[:, :count] / deviation[:first, None],
            "canonical_1": roots[1] @ right[:count].T / deviation[first:, None],
            "mean_0": mean[:first],
            "mean_1": mean[first:],
            "fitted": utterances.count > 1,
        }
        mean, deviation, correlations = frames.standardised()
        for number, (own, other) in enumerate(((slice(first), slice(first, None)), (slice(first, None), slice(first)))):
            strength = ridge * torch.eye(len(mean[own]), dtype=mean.dtype, device=mean.device)
            weight = torch.linalg.solve_ex(correlations[own, own] + strength, correlations[own, other]).result
            found[f"map_{number}"] = weight / deviation[own, None] * deviation[other]
            found[f"shift_{number}"] = mean[other] - mean[own] @ found[f"map_{number}"]
        for name, value in found.items():
            getattr(self, name).copy_(value)

    @float32
    def correlation(self, first: Tensor, second: Tensor, kind: str) -> Tensor:
        """Return the correlation [B] of the canonical projections of mean vectors [B, d]; 0 where one is zero."""
        projected = (first - self.mean_0) @ self.canonical_0, (second - self.mean_1) @ self.canonical_1
        if kind == "pearson":
            projected = tuple(x - x.mean(1, keepdim=True) for x in projected)
        return F.cosine_similarity(*projected)

    @float32
    def translate(self, x: Tensor, number: int) -> Tensor:
        """Turn frames [B, T, d] of the first modality (0) or of the second (1) into frames of the other."""
        return x @ getattr(self, f"map_{number}") + getattr(self, f"shift_{number}")


class Memory(nn.Module):
    """A memory that attends to the hidden states of all modalities before and at each step.

    Parameters
    ----------
    states, width, inner : int
        Widths of all hidden states of a step together, of the memory, and of the hidden layers.
    """

    def __init__(self, states: int, width: int, inner: int) -> None:
        super().__init__()
        self.width = width
        self.attention = nn.Sequential(nn.Linear(2 * states, inner), nn.ReLU(), nn.Linear(inner, 2 * states))
        self.candidate = nn.Sequential(nn.Linear(2 * states, inner), nn.ReLU(), nn.Linear(inner, width), nn.Tanh())
        self.gates_of_states = nn.Linear(2 * states, 2 * inner)
        self.gates_of_memory = nn.Linear(width, 2 * inner, bias=False)
        self.keep, self.write = nn.Linear(inner, width), nn.Linear(inner, width)

    def forward(self, states: Tensor, valid: Tensor) -> Tensor:
        """Return the memory [B, width] after the last valid step of the hidden states [B, T, states]."""
        both = torch.cat([F.pad(states, (0, 0, 1, -1)), states], 2)
        attended = self.attention(both).softmax(2) * both
        candidates, given = self.candidate(attended), self.gates_of_states(attended)
        memory = states.new_zeros(len(states), self.width)
        for candidate, of_states, here in zip(candidates.unbind(1), given.unbind(1), valid.unbind(1), strict=True):
            keep, write = (of_states + self.gates_of_memory(memory)).relu().chunk(2, 1)
            updated = self.keep(keep).sigmoid() * memory + self.write(write).sigmoid() * candidate
            memory = torch.where(here[:, None], updated, memory)
        return memory


class M3ER(Method):
    """Mittal, Bhattacharya, Chandra, Bera and Manocha, AAAI 2020, in our reading."""

    name = "m3er"
    paper = (
        "Mittal, Bhattacharya, Chandra, Bera, Manocha: M3ER: Multiplicative Multimodal Emotion Recognition Using "
        "Facial, Textual, and Speech Cues. AAAI 2020, arXiv 1911.05659"
    )
    reads_text = "vectors"
    optimizer = torch.optim.Adam
    counts = ("replaced",)
    official_counts: ClassVar[dict[str, int]] = {"iemocap": 322_832}
    compared = "no code was released"
    # The modalities of the checks are random, so that the check would find all of them to be noise.
    small: ClassVar[dict] = {"threshold": -1.0, "width": 8, "memory_width": 8, "inner_width": 8, "head_width": 8}

    class Hyperparameters(TrainingHyperparameters):
        """Sizes of the paper; the rest is ours."""

        epochs: int = Field(100, ge=0, description="most passes over the training split; the paper has 500")
        batch_size: int = Field(256, ge=1, description="utterances per forward pass")
        patience: int | None = Field(
            20, ge=1, description="epochs without a better validation score after which training stops"
        )
        learning_rate: float = Field(1e-3, gt=0, description="learning rate of Adam; the paper has 0.01")
        alignment: Literal["words", "pooled"] = Field(
            "words",
            description="what audio and vision are per text position. words: the mean of the frames of the word. "
            "pooled: means over equal parts of the padded length",
            json_schema_extra={"released": None},
        )
        check: bool = Field(
            True,
            description="false never takes an observed modality for noise; absent modalities are still found",
            json_schema_extra={"released": None},
        )
        threshold: float = Field(
            0.1,
            ge=-1,
            le=1,
            description="correlation with every other modality below which a modality is ineffectual",
        )
        dimensions: int = Field(100, ge=1, description="most canonical vectors of a pair of modalities")
        correlation: Literal["cosine", "pearson"] = Field(
            "cosine",
            description="correlation of two projected vectors. cosine: about the means over training samples. pearson: "
            "about the means over their entries",
            json_schema_extra={"released": None},
        )
        ridge: float = Field(
            0.1,
            gt=0,
            description="regularisation of canonical vectors and proxies, for features of variance 1; the paper gives "
            "none",
            json_schema_extra={"released": None},
        )
        proxy: bool = Field(
            True,
            description="false puts zeros in the place of an ineffectual modality",
            json_schema_extra={"released": None},
        )
        width: int = Field(32, ge=1, description="width of the hidden state of each LSTM")
        memory_width: int = Field(128, ge=1, description="width of the memory")
        inner_width: int = Field(64, ge=1, description="width of the hidden layers of the memory; the paper gives none")
        head_width: int = Field(64, ge=1, description="width of the hidden layer of the joint prediction")
        combination: Literal["m3er", "original", "none"] = Field(
            "m3er",
            description="factor of the error of a modality. m3er: small where the modality itself is wrong. original: "
            "small where others are right. none: 1",
            json_schema_extra={"released": None},
        )
        beta: float = Field(2.0, ge=0, description="exponent beta of the factors")
        detach_factor: bool = Field(
            True,
            description="false lets the gradient reach the factors, as the formula is printed",
            json_schema_extra={"released": None},
        )
        unimodal_weight: float = Field(
            1.0,
            ge=0,
            description="weight of the multiplicative loss beside the joint error; the paper gives none",
            json_schema_extra={"released": None},
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosei": {"batch_size": 1024},
        "demo": {"epochs": 20, "batch_size": 16, "patience": None},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        inputs = {name: getattr(spec, name) for name in MODALITIES}
        self.pairs = nn.ModuleDict(
            {f"{a}_{b}": Pair(inputs[a], inputs[b], h.dimensions) for a, b in combinations(MODALITIES, 2)}
        )
        self.lstms = nn.ModuleDict({name: nn.LSTM(inputs[name], h.width, batch_first=True) for name in MODALITIES})
        states = len(MODALITIES) * h.width
        self.memory = Memory(states, h.memory_width, h.inner_width)
        self.hidden = nn.Sequential(nn.Linear(states + h.memory_width, h.head_width), nn.ReLU())
        self.head = nn.Linear(h.head_width, spec.outputs)
        alone = spec.outputs if spec.task is TaskKind.CLASSIFICATION else 2
        self.alone = nn.ModuleDict({name: nn.Linear(h.width, alone) for name in MODALITIES})
        self._first_epoch = self._collects = False
        self._moments: dict[str, tuple[Moments, Moments]] = {}

    def on_epoch_start(self, epoch: int) -> None:
        """Remember the first epoch: before it, the moments of the training split are collected."""
        self._first_epoch, self._collects = epoch == 1, False

    def passes(self, batches: int) -> list[int]:
        """A pass that collects moments, in the first epoch; and one that trains."""
        return [batches, batches] if self._first_epoch else [batches]

    def on_pass_start(self, number: int) -> None:
        """Collect moments in the first pass of the first epoch, and fit the pairs after it."""
        if self._collects:
            for name, (utterances, frames) in self._moments.items():
                self.pairs[name].fit(utterances, frames, self.hyperparameters.ridge)
        self._moments, self._collects = {}, self._first_epoch and number == 0

    def update(self, batch: Batch, optimizers: list[torch.optim.Optimizer], step: int) -> dict[str, Tensor]:
        """Collect moments of a batch, or learn from it."""
        if not self._collects:
            return super().update(batch, optimizers, step)
        self.collect(batch)
        return {}

    @torch.no_grad()
    def collect(self, batch: Batch) -> None:
        """Add the utterances and frames of a batch to the moments of each pair, as far as both are observed."""
        clear = self.available(batch)
        for first, second in combinations(MODALITIES, 2):
            pair = [getattr(batch, name) for name in (first, second)]
            usable = clear[:, MODALITIES.index(first)] & clear[:, MODALITIES.index(second)]
            (mean_a, there_a), (mean_b, there_b) = (mean_observed(sequence) for sequence in pair)
            width = mean_a.shape[1] + mean_b.shape[1]
            name = f"{first}_{second}"
            if name not in self._moments:
                self._moments[name] = Moments(width, mean_a), Moments(width, mean_a)
            utterances, frames = self._moments[name]
            utterances.add(mean_a, mean_b, usable & (there_a & there_b).squeeze(1))
            observed = pair[0].observed & pair[1].observed & usable[:, None]
            frames.add(*(sequence.values.flatten(0, 1) for sequence in pair), observed.flatten())

    def effectual(self, batch: Batch) -> Tensor:
        """Return which of text, audio and vision fit at least one of the others [B, 3] bool; all, if none does."""
        h, found = self.hyperparameters, {name: mean_observed(getattr(batch, name)) for name in MODALITIES}
        there = torch.cat([present for _, present in found.values()], 1)
        if not h.check:
            return there
        asked, fits = torch.zeros_like(there), torch.zeros_like(there)
        for first, second in combinations(range(len(MODALITIES)), 2):
            a, b = MODALITIES[first], MODALITIES[second]
            pair = self.pairs[f"{a}_{b}"]
            both = there[:, first] & there[:, second] & pair.fitted
            fit = both & (pair.correlation(found[a][0], found[b][0], h.correlation) >= h.threshold)
            for place in (first, second):
                asked[:, place] |= both
                fits[:, place] |= fit
        good = there & (fits | ~asked)
        return torch.where(good.any(1, keepdim=True), good, there)

    def repair(self, batch: Batch, good: Tensor | None = None) -> dict[str, Tensor]:
        """Return the frames [B, T, d] of each modality; proxies, or zeros, of those that are not `effectual`."""
        good, repaired = self.effectual(batch) if good is None else good, {}
        for place, name in enumerate(MODALITIES):
            own = getattr(batch, name).values
            proxy, count = torch.zeros_like(own), own.new_zeros(own.shape[:2])
            for source, other in enumerate(MODALITIES):
                if source == place or not self.hyperparameters.proxy:
                    continue
                pair = self.pairs[f"{MODALITIES[min(place, source)]}_{MODALITIES[max(place, source)]}"]
                sequence = getattr(batch, other)
                told = sequence.observed & good[:, source, None]
                proxy = proxy + pair.translate(sequence.values, int(source > place)) * told[..., None]
                count = count + told
            repaired[name] = torch.where(good[:, place, None, None], own, proxy / count.clamp(min=1)[..., None])
        return repaired

    def represent(self, batch: Batch, good: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the joint vector [B, head_width], and the last hidden state [B, width] of each modality."""
        valid = torch.stack([getattr(batch, name).valid for name in MODALITIES]).any(0)
        end = (valid * torch.arange(1, valid.shape[1] + 1, device=valid.device)).amax(1).clamp(min=1) - 1
        rows = torch.arange(len(valid), device=valid.device)
        states = {name: self.lstms[name](x)[0] for name, x in self.repair(batch, good).items()}
        last = {name: x[rows, end] for name, x in states.items()}
        memory = self.memory(torch.cat(list(states.values()), 2), valid)
        return self.hidden(torch.cat([*last.values(), memory], 1)), last

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the memory and the last hidden states."""
        joint, _ = self.represent(batch)
        return Prediction(self.readout(self.head(joint)), joint)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error of the joint prediction, and the multiplicative loss of the modalities.

        ``replaced`` counts: the share of observed modalities that are.
        """
        h, there, good = self.hyperparameters, self.available(batch), self.effectual(batch)
        joint, last = self.represent(batch, good)
        terms = {"emotion": self.error(self.readout(self.head(joint)), batch.label)}
        target = batch.label if self.spec.task is TaskKind.CLASSIFICATION else (batch.label >= 0).long()
        logits = torch.stack([self.alone[name](last[name]) for name in MODALITIES], 1)
        chances = logits.log_softmax(2).gather(2, target[:, None, None].expand(-1, len(MODALITIES), 1)).squeeze(2)
        alone = multiplicative_loss(chances, beta=h.beta, combination=h.combination, detach=h.detach_factor)
        replaced = (there & ~good).sum() / there.sum().clamp(min=1)
        return terms | {"unimodal": h.unimodal_weight * alone, "replaced": replaced}

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam, without weight decay."""
        return [self.optimizer(self.trainable(), lr=self.hyperparameters.learning_rate)]

    def after_backward(self) -> None:
        """Clip nothing."""


def multiplicative_loss(chances: Tensor, *, beta: float, combination: str, detach: bool) -> Tensor:
    """Weigh the error of each modality by how reliable the modality, or the others, are.

    Parameters
    ----------
    chances : Tensor [B, M]
        Logarithm of the probability that each modality gives the true class.
    beta : float
    combination : str
        ``m3er``: - sum_i p_i^(beta / (M - 1)) log p_i. ``original``: the factor is the product of
        (1 - p_j)^(beta / (M - 1)) over all other modalities. ``none``: without a factor.
    detach : bool
        Whether the factor has no gradient.

    Returns
    -------
    Tensor []
        Mean over samples.
    """
    chances = raised(chances)
    power = beta / (chances.shape[1] - 1)
    if combination == "m3er":
        logarithm = power * chances
    elif combination == "original":
        wrong = (1 - chances.exp()).clamp(min=_SMALL).log()
        logarithm = power * (wrong.sum(1, keepdim=True) - wrong)
    else:
        logarithm = torch.zeros_like(chances)
    factor = logarithm.exp()
    return -((factor.detach() if detach else factor) * chances).sum(1).mean()


def _inverse_root(matrix: Tensor, ridge: float) -> Tensor:
    """Return the inverse square root of a covariance, whose eigenvalues are raised by ``ridge``."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * (values.clamp(min=0) + ridge).rsqrt() @ vectors.T
