"""IMDer: incomplete multimodality-diffused emotion recognition.

A score network of each modality learns how noisy projections of the modality become likely ones, given those that are
available. A missing modality starts as noise and is denoised in steps. A network with channel attention refines the
outcome, and MulT fuses the three.

The file follows the released code. What differs from code and paper:

- The number of denoising steps is ours (``sampler_steps: 20``). The code has 100. Each step evaluates a network of 3.5
  million weights. On a CPU, the steps are most of the cost.
- The steps are those of ancestral sampling, appendix F of Song et al. 2021, arXiv 2011.13456 (``sampler: ancestral``).
  The code has steps of Euler and Maruyama (``sampler: euler``). The last of them is longer than the variance of the
  noise that is left, and overshoots where data vary little. For Gaussian data of standard deviation 0.1 and their true
  score, 20 steps give samples of standard deviation 1.04, and 100 steps those of 0.01. Ancestral sampling gives 0.05
  and 0.07.
- In training, the condition has noise of its own (``condition_noise: independent``), as it has in sampling. The code
  adds the same noise to modality and condition in training (``shared``), and their difference then has none.
- The last level that is told the time has a norm of 16 groups. The code has a group for each of its 32 channels
  (``channel_norm``). Such a norm takes away what the time adds, and 8,224 weights of each score network never learn.
- Noise at evaluation follows from the row of the sample in the dataset and from a number that each run draws. The code
  draws anew at every evaluation.
- Which modalities are missing is drawn for each sample (``corruption: absent``), and all sets have equal chances. The
  code draws one set per batch, in order of the batches, and draws again at every evaluation. The code trains one model
  for each missing rate.
- A modality is missing if nothing of it is observed. A modality of which something is observed is not recovered: its
  lost positions are zeros, or [UNK]. A sample that has nothing at all is predicted as it is. A modality that the
  dataset does not have is not recovered.
- The losses of score and recovery leave padding out (``mask_padding``). The networks read padding, as MulT does.
- The code has 48 positions. Here a sequence has any length: what is upsampled is cut to the length on the way down.
- The frozen text encoder has no dropout in training. In the code, BERT has.
- ``imder_teacher`` says what is known of the checkpoint from which the code starts.

The score loss is a sum over positions and channels, as in the code, and so is larger than the error by two orders. No
weight learns from both: gradients never pass through the sampler, and projections do not learn.
"""

import math
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.corruption.missing import generators
from elision.methods.imder_teacher import IMDerTeacher
from elision.methods.layers import transformer
from elision.methods.layers.crossmodal import CrossmodalEncoder
from elision.methods.layers.precision import float32, raised
from elision.methods.layers.recovery import SOURCES, RecoveringMethod, RecoveryHyperparameters
from elision.task import DataSpec

_SIGMA = 25.0  # of the variance exploding diffusion
_FREQUENCY = 30.0  # standard deviation of the frequencies that tell the time
_SMALLEST, _END = 1e-5, 1e-3  # time: the smallest in training, and that of the last step of sampling


def deviation(time: Tensor) -> Tensor:
    """Return the standard deviation of the noise at times from 0 to 1: sqrt((25^(2 t) - 1) / (2 ln 25))."""
    return (torch.expm1(2 * math.log(_SIGMA) * time) / (2 * math.log(_SIGMA))).sqrt()


class Level(nn.Module):
    """A convolution of a U-Net, which attends to the condition and is told the time.

    Parameters
    ----------
    convolve, condition : nn.Module
        Convolutions of the sequence, and of the condition.
    width, heads, layers, embedding : int
        Of the outcome; of its attention, twice; of the embedded time.
    groups : int
        Of the group norm; 0: the level is the last one, which has neither norm nor time.
    """

    def __init__(
        self,
        convolve: nn.Module,
        condition: nn.Module,
        width: int,
        *,
        heads: int,
        layers: int,
        embedding: int,
        groups: int,
    ) -> None:
        super().__init__()
        self.convolve, self.condition = convolve, condition
        self.attention = CrossmodalEncoder(width, heads, layers, positions=True)
        if groups:
            self.time, self.norm = nn.Linear(embedding, width), nn.GroupNorm(groups, width)
        self.last = not groups

    def forward(self, x: Tensor, condition: Tensor, time: Tensor, length: int | None = None) -> tuple[Tensor, Tensor]:
        """Return sequence and condition [B, width, T'] for the next level, cut to a length."""
        x, condition = self.convolve(x)[..., :length], self.condition(condition)[..., :length]
        x = x + self.attention(x.transpose(1, 2), condition.transpose(1, 2)).transpose(1, 2)
        return x if self.last else F.silu(self.norm(x + self.time(time)[..., None])), condition


class ScoreNetwork(nn.Module):
    """U-Net that estimates the score of a noisy sequence: the gradient of its log-density.

    Parameters
    ----------
    width, heads, layers : int
        The levels are ``width``, twice, four times and eight times as wide; their attention has heads and layers.
    channel_norm : bool
        Normalise each channel of the last level that is told the time by itself. What the time adds is then taken away.
    """

    def __init__(self, width: int, heads: int, layers: int, *, channel_norm: bool) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        told = {"heads": heads, "layers": layers, "embedding": 8 * width}
        self.frequencies = nn.Parameter(torch.randn(4 * width) * _FREQUENCY, requires_grad=False)
        self.embed = nn.Linear(8 * width, 8 * width)

        def down(inputs: int, outputs: int, stride: int) -> nn.Module:
            return nn.Conv1d(inputs, outputs, 3, stride=stride, padding=1, bias=False)

        def up(inputs: int, outputs: int) -> nn.Module:
            return nn.ConvTranspose1d(inputs, outputs, 3, stride=2, padding=1, output_padding=1, bias=False)

        def last(inputs: int) -> nn.Module:
            return nn.ConvTranspose1d(inputs, width, 3, padding=1)

        self.down = nn.ModuleList([Level(down(width, width, 1), nn.Identity(), width, groups=4, **told)])
        for a, b in pairwise(widths):
            self.down.append(Level(down(a, b, 2), down(a, b, 2), b, groups=min(32, b // 2), **told))
        self.up = nn.ModuleList()
        for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True):
            inputs = 2 * a if len(self.up) else a  # all but the first read what was there on the way down, too
            groups = width if channel_norm and b == width else min(32, b // 2)
            self.up.append(Level(up(inputs, b), up(a, b), b, groups=groups, **told))
        self.up.append(Level(last(2 * width), last(width), width, groups=0, **told))

    def forward(self, x: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """Estimate the score [B, T, width] of noisy sequences [B, T, width].

        Parameters
        ----------
        x, condition : Tensor [B, T, width]
        time : Tensor [B] or [1]
            From 0 to 1.
        """
        angle = 2 * math.pi * time[:, None] * self.frequencies
        embedded = F.silu(self.embed(torch.cat([angle.sin(), angle.cos()], 1)))
        h, condition = x.transpose(1, 2), condition.transpose(1, 2)
        passed: list[Tensor] = []
        for level in self.down:
            h, condition = level(h, condition, embedded)
            passed.append(h)
        h = passed.pop()
        for number, level in enumerate(self.up):
            if number:
                h = torch.cat([h, passed.pop()], 1)
            length = passed[-1].shape[2] if passed else h.shape[2]
            h, condition = level(h, condition, embedded, length)
        return raised(h.transpose(1, 2)) / deviation(time)[:, None, None]


class IMDer(RecoveringMethod):
    """Wang, Li and Cui, NeurIPS 2023."""

    name = "imder"
    corruption = "absent"
    requires = ("text",)
    paper = IMDerTeacher.paper
    needs = ("imder_teacher",)
    needs_complete = True
    official_counts: ClassVar[dict[str, int]] = {"mosi": 13_001_809, "mosei": 13_462_225}
    small: ClassVar[dict] = {
        **IMDerTeacher.small,
        "sampler_steps": 2,
        "score_layers": 1,
        "refinement_blocks": 1,
        "refinement_reduction": 2,
    }

    class Hyperparameters(RecoveryHyperparameters, IMDerTeacher.Hyperparameters):
        """Those of the released code for MOSI."""

        score_layers: int = Field(2, ge=1, description="layers of each attention of a score network to the condition")
        sampler: Literal["ancestral", "euler"] = Field(
            "ancestral",
            description="steps of sampling. ancestral: their noise and their length follow from the noise before and "
            "after the step. euler: those of Euler and Maruyama, which overshoot where steps are few",
            json_schema_extra={"released": "euler"},
        )
        sampler_steps: int = Field(
            20,
            ge=2,
            description="steps from noise to a projection; the cost of a recovered modality grows with them",
            json_schema_extra={"released": 100},
        )
        condition_noise: Literal["independent", "shared"] = Field(
            "independent",
            description="noise of the condition in training. independent: its own, as in sampling. shared: that of the "
            "modality",
            json_schema_extra={"released": "shared"},
        )
        channel_norm: bool = Field(
            False,
            description="last level of a score network that is told the time. true: each channel is normalised by "
            "itself, so that the level does not know the time",
            json_schema_extra={"released": True},
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        **IMDerTeacher.corpus_defaults,
        "demo": {**IMDerTeacher.corpus_defaults["demo"], "sampler_steps": 10, "refinement_blocks": 4},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        sizes = h.width, h.heads, h.score_layers
        self.scores = nn.ModuleDict(
            {name: ScoreNetwork(*sizes, channel_norm=h.channel_norm) for name in self.recovered}
        )
        self.register_buffer("noise_seed", torch.randint(2**62, ()))

    def conditions(self, known: dict[str, Tensor], given: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return what each modality is recovered from [B, S, width]."""
        return {
            name: self.merge(name, tuple(known[source] for source in SOURCES[name]), given) for name in self.recovered
        }

    def generate(
        self, known: dict[str, Tensor], given: dict[str, Tensor], lost: dict[str, Tensor], row: Tensor
    ) -> dict[str, Tensor]:
        """Denoise the missing modalities, given those that are there."""
        size = 2 * self.hyperparameters.sampler_steps, *known["text"].shape[1:]
        made = {}
        with torch.no_grad():
            for name, condition in self.conditions(known, given).items():
                needed = self.needed(lost[name])
                draws = self.noise(f"sample {name}", size, row, needed)
                made[name] = torch.zeros_like(condition)
                if len(draws):
                    made[name][needed] = self.sample(name, condition[needed], draws).to(condition.dtype)
        return made

    def needed(self, lost: Tensor) -> Tensor | slice:
        """Return the samples that need a modality, which ``lost`` [B, 1, 1] tells; or all, where that is quicker.

        While it trains on a GPU, the processor would have to wait for the answer; and so would a compiler.
        """
        if torch.compiler.is_compiling() or (self.training and transformer.shares(lost)):
            return slice(None)
        return lost.flatten().nonzero().squeeze(1)

    def sample(self, name: str, condition: Tensor, draws: Tensor) -> Tensor:
        """Draw projections of a modality [B, S, width].

        Parameters
        ----------
        name : str
        condition : Tensor [B, S, width]
        draws : Tensor [B, 2 sampler_steps, S, width]
            Gaussian noise: of the start; and of each step, that of the condition and the one after the step.
        """
        h = self.hyperparameters
        x = draws[:, 0] * deviation(torch.ones((), device=draws.device))
        for step, (time, gain, spread) in enumerate(steps(h.sampler, h.sampler_steps)):
            at = torch.full((1,), time, device=draws.device)
            noisy = condition + draws[:, 1 + 2 * step] * deviation(at)[:, None, None]
            x = x + gain * self.scores[name](x, at, noisy)
            if step < h.sampler_steps - 1:
                x = x + spread * draws[:, 2 + 2 * step]
        return x

    def noise(self, key: str, shape: tuple[int, ...], row: Tensor, needed: Tensor | slice) -> Tensor:
        """Draw Gaussian noise [n, *shape] for the samples that need it.

        Outside training, ``key``, ``row`` [B] and ``noise_seed`` decide it. All is drawn on the CPU, and in training
        for all samples, so that it is the same on every device.
        """
        if self.training:
            drawn = torch.randn(len(row), *shape)[needed]
        else:
            each = generators("imder", int(self.noise_seed), key, names=row[needed].tolist())
            normals = [random.standard_normal(shape, np.float32) for random in each]
            drawn = torch.from_numpy(np.array(normals, np.float32).reshape(-1, *shape))
        return drawn.to(row.device, non_blocking=True)

    def generator_terms(
        self, projected: dict[str, Tensor], truth: dict[str, Tensor], counted: dict[str, Tensor], batch: Batch
    ) -> dict[str, Tensor]:
        """Return the score loss of each modality that can be recovered, of the samples that miss it."""
        given, lost = self.flags(batch)
        conditions = self.conditions({name: x.detach() for name, x in projected.items()}, given)
        return {
            f"score_{name}": self.score_loss(
                name, truth[name], conditions[name], counted[name] & lost[name][..., 0], batch.row
            )
            for name in self.recovered
        }

    def score_loss(self, name: str, x: Tensor, condition: Tensor, counted: Tensor, row: Tensor) -> Tensor:
        """Return the mean over samples of the summed squared error of the noise that the score implies.

        Parameters
        ----------
        name : str
        x, condition : Tensor [B, S, width]
        counted : Tensor [B, S] bool
            Positions of which the error is summed.
        row : Tensor [B] int64
        """
        needed = self.needed(counted.any(1)[:, None, None])
        if not len(row[needed]):
            needed = slice(1)  # one that counts nothing, so that weights have gradients of 0 on every device
        uniform = torch.special.ndtr(self.noise(f"time {name}", (), row, needed))
        time = uniform * (1 - _SMALLEST) + _SMALLEST
        z, own = self.noise(f"score {name}", (2, *x.shape[1:]), row, needed).unbind(1)
        if self.hyperparameters.condition_noise == "shared":
            own = z
        spread = deviation(time)[:, None, None]
        score = self.scores[name](x[needed] + z * spread, time, condition[needed] + own * spread)
        return summed(score * spread + z, counted[needed]) / len(row)

    def reconstruction(self, errors: Tensor, lost: dict[str, Tensor]) -> Tensor:
        """Return the mean over samples of the summed errors of the modalities that each has recovered."""
        return errors.sum(1).mean()


@float32
def summed(x: Tensor, counted: Tensor) -> Tensor:
    """Return the sum of squares of [B, S, d] over the positions that count [B, S]."""
    return torch.where(counted[..., None], x, 0.0).square().sum()


def steps(sampler: str, count: int) -> list[tuple[float, float, float]]:
    """Return time, factor of the score and standard deviation of the noise added after it, for each step of sampling.

    Parameters
    ----------
    sampler : str
        ``euler``: with steps of the length d, g(t)^2 d and g(t) sqrt(d), where g(t) is 25^t. ``ancestral``: with the
        variances v of the noise at the step and w at the next, v - w and sqrt(w (v - w) / v); w is 0 after the last.
    count : int
        Times are from 1 to 0.001, at equal distances.
    """
    times = np.linspace(1.0, _END, count)
    if sampler == "euler":
        growth, length = _SIGMA**times, times[0] - times[1]
        found = times, growth**2 * length, growth * math.sqrt(length)
    else:
        variance = np.expm1(2 * math.log(_SIGMA) * times) / (2 * math.log(_SIGMA))
        after = np.append(variance[1:], 0.0)
        found = times, variance - after, np.sqrt(after * (variance - after) / variance)
    return list(zip(*(values.tolist() for values in found), strict=True))
