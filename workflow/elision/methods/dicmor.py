"""DiCMoR: distribution-consistent modal recovering.

A normalising flow of each modality maps its projection to a latent space. In this space, all modalities share one
Gaussian per class. The latents of another modality run backwards through the flow of a missing one and recover it. A
network with channel attention refines the outcome, and MulT fuses the three.

The file follows the released code. What differs from code and paper:

- A step of the flow has an activation norm, an invertible linear layer and an affine coupling, as in Glow
  (``flow: full``). The code builds all three and calls the coupling alone (``flow: coupling``). Every coupling then
  keeps the first half of the channels, and half of a recovered modality equals the modality that it is recovered from.
  The activation norm starts as the identity. That of the code would start from the first batch.
- The code has layers that nothing calls: a prior in each flow, and a layer after the last step of each modality. It
  multiplies the weights of the class priors by zeros. ``unused_modules: true`` builds all of these, which never learn.
- Which modalities are missing is drawn for each sample (``corruption: absent``), and all sets have equal chances. The
  code draws one set per batch, in order of the batches, and draws again at every evaluation. The code trains one model
  for each missing rate.
- A modality is missing if nothing of it is observed. A modality of which something is observed is not recovered: its
  lost positions are zeros, or [UNK]. A sample that has nothing at all is predicted as it is. A modality that the
  dataset does not have is not recovered.
- The likelihood and the error of what is recovered leave padding out (``mask_padding``). Most utterances of MOSI are
  far shorter than the 50 positions of the aligned file. The network itself reads padding, as MulT does.
- A score outside -3 to 3 has the nearest class. The code leaves such samples out. Scores of a corpus with another range
  are first stretched to -3 to 3. With classes as labels, each has a Gaussian.
- The code computes the likelihood at evaluation, too, and needs labels there. Here it is part of the loss alone.
- The frozen text encoder has no dropout in training. In the code, BERT has.
- A batch in which nothing is missing adds nothing to the error of what is recovered, as in the code. In a mixed batch,
  the error of a sample is the mean over its recovered modalities.
- ``dicmor_teacher`` says what is known of the checkpoint from which the code starts.

The code limits the likelihood term of a modality to at least 0 bits per number, and so does this file. Where a modality
reaches this limit, its flow stops learning.
"""

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.dicmor_teacher import DiCMoRTeacher
from elision.methods.layers.precision import float32
from elision.methods.layers.recovery import SOURCES, RecoveringMethod, RecoveryHyperparameters
from elision.task import MODALITIES, DataSpec, TaskKind

_LARGEST = 3  # rounded score, in either direction


class ZeroLinear(nn.Linear):
    """A linear layer that starts at 0, with a learnt factor exp(3 s) of each output."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)
        self.scale = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Turn [..., inputs] into [..., outputs]."""
        return super().forward(x) * torch.exp(3 * self.scale)


class Coupling(nn.Module):
    """Affine coupling: the first half of the channels shifts and scales the second half.

    Parameters
    ----------
    width, hidden : int
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(width // 2, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), ZeroLinear(hidden, width)
        )
        for layer in self.network[0], self.network[2]:
            nn.init.normal_(layer.weight, std=0.05)
            nn.init.zeros_(layer.bias)

    def parameters_of(self, half: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logarithm of the scale, which is below 0, and the shift, from the first half of the channels."""
        scale, shift = self.network(half).chunk(2, -1)
        return F.logsigmoid(scale + 2), shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the changed [B, T, width], and the log-determinant [B, T] of each position."""
        kept, half = x.chunk(2, -1)
        scale, shift = self.parameters_of(kept)
        return torch.cat([kept, (half + shift) * scale.exp()], -1), scale.sum(-1)

    def inverse(self, x: Tensor) -> Tensor:
        """Undo `forward`."""
        kept, half = x.chunk(2, -1)
        scale, shift = self.parameters_of(kept)
        return torch.cat([kept, half * (-scale).exp() - shift], -1)


class Flow(nn.Module):
    """Normalising flow over the channels of each position, in steps of norm, mixing and coupling.

    Parameters
    ----------
    width, steps, hidden : int
    full : bool
        Whether norms and mixing act; else the couplings alone.
    unused : bool
        Build what is not used, too.
    """

    def __init__(self, width: int, steps: int, hidden: int, *, full: bool, unused: bool) -> None:
        super().__init__()
        self.full = full
        self.couplings = nn.ModuleList(Coupling(width, hidden) for _ in range(steps))
        if full or unused:
            self.shift, self.scale = nn.Parameter(torch.zeros(steps, width)), nn.Parameter(torch.ones(steps, width))
            self.mixing = nn.Parameter(torch.linalg.qr(torch.randn(steps, width, width)).Q)
        if not full:
            self.requires_grad_(False)
            self.couplings.requires_grad_(True)
        if unused:
            self.prior = ZeroLinear(width, 2 * width).requires_grad_(False)

    @float32
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latents [B, T, width] of a sequence, and the log-determinant [B, T] of each position."""
        total = x.new_zeros(x.shape[:2])
        if self.full:
            total = total + self.scale.abs().log().sum() + torch.linalg.slogdet(self.mixing).logabsdet.sum()
        for number, coupling in enumerate(self.couplings):
            if self.full:
                x = (self.scale[number] * (x + self.shift[number])) @ self.mixing[number].T
            x, determinant = coupling(x)
            total = total + determinant
        return x, total

    @float32
    def inverse(self, z: Tensor) -> Tensor:
        """Return the sequence [B, T, width] of some latents."""
        # Unlike `inv`, `inv_ex` does not wait for the device to say whether there is an inverse.
        unmixing = torch.linalg.inv_ex(self.mixing).inverse if self.full else None
        for number in reversed(range(len(self.couplings))):
            z = self.couplings[number].inverse(z)
            if unmixing is not None:
                z = (z @ unmixing[number].T) / self.scale[number] - self.shift[number]
        return z


class ClassPriors(nn.Module):
    """A Gaussian of the latents for each class, shared by modalities and positions; it starts as the standard one.

    Parameters
    ----------
    classes, width : int
    unused : bool
        Build the weights that the released code multiplies by zeros.
    """

    def __init__(self, classes: int, width: int, *, unused: bool) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(classes, 2 * width))
        self.scale = nn.Parameter(torch.zeros(classes, 2 * width))
        if unused:
            self.weight = nn.Parameter(torch.zeros(classes, 2 * width, width), requires_grad=False)

    @float32
    def forward(self, z: Tensor, category: Tensor) -> Tensor:
        """Return the log-density [B, T] of latents [B, T, width] of samples of known classes [B]."""
        both = self.bias[category] * torch.exp(3 * self.scale[category])
        mean, log_deviation = both[:, None].chunk(2, -1)
        squares = (z - mean).square() * torch.exp(-2 * log_deviation)
        return (-0.5 * math.log(2 * math.pi) - log_deviation - 0.5 * squares).sum(-1)


class DiCMoR(RecoveringMethod):
    """Wang, Cui and Li, ICCV 2023."""

    name = "dicmor"
    corruption = "absent"
    requires = ("text",)
    paper = DiCMoRTeacher.paper
    needs = ("dicmor_teacher",)
    needs_complete = True
    official_counts: ClassVar[dict[str, int]] = {"mosi": 3_491_473, "mosei": 13_628_449}
    compared = (
        "equal with `unused_modules: true` (mosi: 3,524,817; mosei: 13,760,673), where 33,344 (mosei: 132,224) more "
        "weights never learn"
    )
    small: ClassVar[dict] = {
        **DiCMoRTeacher.small,
        "flow_steps": 2,
        "flow_hidden": 8,
        "refinement_blocks": 1,
        "refinement_reduction": 2,
    }

    class Hyperparameters(RecoveryHyperparameters, DiCMoRTeacher.Hyperparameters):
        """Those of the released code for MOSI."""

        flow: Literal["full", "coupling"] = Field(
            "full",
            description="steps of the flows. full: activation norm, invertible linear layer and coupling, as in "
            "Glow. coupling: the coupling alone; half of a recovered projection is then a copy of its source",
            json_schema_extra={"released": "coupling"},
        )
        flow_steps: int = Field(32, ge=1, description="steps of each flow")
        flow_hidden: int = Field(64, ge=1, description="width of the hidden layers of a coupling")
        unused_modules: bool = Field(
            False,
            description="true builds the layers that the released code counts and never trains. The random weights of "
            "a seed then differ",
            json_schema_extra={"released": True},
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        **DiCMoRTeacher.corpus_defaults,
        "demo": {**DiCMoRTeacher.corpus_defaults["demo"], "flow_steps": 8, "refinement_blocks": 4},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h, unused = hyperparameters, hyperparameters.unused_modules
        sizes = h.width, h.flow_steps, h.flow_hidden
        self.flows = nn.ModuleDict({name: Flow(*sizes, full=h.flow == "full", unused=unused) for name in MODALITIES})
        classes = 2 * _LARGEST + 1 if spec.task is TaskKind.REGRESSION else spec.outputs
        self.priors = ClassPriors(classes, h.width, unused=unused)
        if unused:
            self.weighing = nn.ModuleDict({name: nn.Linear(2 * h.width, 2 * h.width) for name in MODALITIES})
            self.weighing.requires_grad_(False)

    def categories(self, label: Tensor) -> Tensor:
        """Return the number of the Gaussian of each label [B]: of the rounded score, from -3 to 3, or of the class."""
        if self.spec.task is TaskKind.CLASSIFICATION:
            return label
        stretched = label * (_LARGEST / (self.spec.label_range or _LARGEST))
        return stretched.round().clamp(-_LARGEST, _LARGEST).long() + _LARGEST

    def generate(
        self, known: dict[str, Tensor], given: dict[str, Tensor], lost: dict[str, Tensor], row: Tensor
    ) -> dict[str, Tensor]:
        """Run the latents of the other modalities backwards through the flow of the missing one."""
        made = {}
        with torch.no_grad():
            latent = {name: flow(known[name])[0] for name, flow in self.flows.items()}
            inverted = {
                name: self.flows[name].inverse(torch.cat([latent[source] for source in SOURCES[name]])).chunk(2)
                for name in self.recovered
            }
        for name, sources in inverted.items():
            made[name] = self.merge(name, sources, given)
        return made

    def generator_terms(
        self, projected: dict[str, Tensor], truth: dict[str, Tensor], counted: dict[str, Tensor], batch: Batch
    ) -> dict[str, Tensor]:
        """Return the negative log-likelihood of each modality, in bits per number, but at least 0."""
        category, terms = self.categories(batch.label), {}
        for name, flow in self.flows.items():
            latent, determinant = flow(truth[name])
            terms[f"likelihood_{name}"] = bits(self.priors(latent, category) + determinant, counted[name], latent)
        return terms

    def reconstruction(self, errors: Tensor, lost: dict[str, Tensor]) -> Tensor:
        """Return the mean over samples of the mean error of the modalities that each has recovered, or of 0."""
        recovered = torch.cat([lost[name][..., 0] for name in self.recovered], 1)
        return (errors.sum(1) / recovered.sum(1).clamp(min=1)).mean()


def bits(log_density: Tensor, counted: Tensor, latent: Tensor) -> Tensor:
    """Return the negative log-density of the positions that count in bits per number, or 0 if that is less.

    Parameters
    ----------
    log_density : Tensor [B, T]
        In nats.
    counted : Tensor [B, T] bool
    latent : Tensor [B, T, d]
        Has as many numbers per position as are counted.
    """
    numbers = counted.sum().clamp(min=1) * latent.shape[2]
    return F.relu(-torch.where(counted, log_density, 0.0).sum() / (math.log(2) * numbers))
