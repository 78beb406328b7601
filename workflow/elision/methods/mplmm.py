"""MPLMM: multimodal prompt learning with missing modalities.

A MulT that has learnt from complete data (``mplmm_backbone``) is frozen. Prompts are learnt in its place. A generative
prompt and the available modalities make a missing modality. A signal prompt says of each modality whether the modality
is missing. Steps that depend on the set of missing modalities follow the sequences that attend to themselves. The
projections of the input and the last layer are learnt, too.

The file follows the official code. ``mplmm_backbone`` lists what differs in the backbone and in training. The rest is
here:

- The prompts of missing types start at random (``type_prompt_init: normal``). In the official code, the prompts and the
  matrices that they are multiplied by start at zero (``type_prompt_init: zeros``). The gradient of each is a product
  with the other, so that both stay zero for ever. The official model therefore appends 16 steps of zeros.
- A step whose first number is exactly zero has no position, as in the official code. With ``type_prompt_init: zeros``,
  the appended steps have none.
- ``train.with_complete`` decides whether training samples are complete: all sets have equal chances. In the official
  code, a sample is incomplete with a probability of 0.7, and sets are drawn anew at every access, in tests, too.
- Without any modality, each sequence is its signal prompt alone. The official code has no such sample.
- A modality that the dataset never has counts as missing.
- Elements that are missing at random are zeros of an available modality, because the official code loses whole
  modalities alone.

The weights depend on the padded lengths of the dataset: time is mixed by layers of one weight per pair of steps.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.errors import ElisionError
from elision.methods.base import Method
from elision.methods.layers.crossmodal import summarised
from elision.methods.mplmm_backbone import MPLMMBackbone
from elision.task import MODALITIES, DataSpec

if TYPE_CHECKING:
    from elision.methods.layers.retrieval import Database

_FROZEN = ("crossmodal", "memory", "residual")  # parts that come from the backbone
_DEVIATION = 0.02  # of the first prompts of missing types; ours
_SIZES = ("width", "heads", "layers")  # hyperparameters that the backbone must share


class Generator(nn.Module):
    """What a missing modality is made of: a prompt and the available modalities, mixed over time.

    Parameters
    ----------
    inputs, lengths : dict of str to int
        Width and padded length of each of the two other modalities.
    length, width : int
        Of the sequence that is made.
    prompt_length : int
    """

    def __init__(
        self, inputs: dict[str, int], lengths: dict[str, int], length: int, *, width: int, prompt_length: int
    ) -> None:
        super().__init__()
        self.prompt = nn.Parameter(torch.zeros(prompt_length, width))
        self.project = nn.ModuleDict({name: nn.Linear(size, width) for name, size in inputs.items()})
        self.mix = nn.ModuleDict({name: nn.Linear(prompt_length + size, length) for name, size in lengths.items()})
        self.mix["both"] = nn.Linear(prompt_length + sum(lengths.values()), length)

    def forward(self, sequences: dict[str, Tensor], available: dict[str, Tensor]) -> Tensor:
        """Make a sequence [B, length, width] of sequences [B, T, d] that are ``available`` [B] bool.

        Samples that have none of them get zeros.
        """
        projected = {name: F.gelu(project(sequences[name])) for name, project in self.project.items()}
        prompt = self.prompt.expand(len(next(iter(projected.values()))), -1, -1)
        (first, one), (second, other) = projected.items()
        made = {
            name: F.gelu(self.mix[name](torch.cat([prompt, *parts], 1).mT)).mT
            for name, parts in ((first, [one]), (second, [other]), ("both", [one, other]))
        }
        has_one, has_other = (available[name][:, None, None] for name in (first, second))
        alone = torch.where(has_one, made[first], torch.where(has_other, made[second], 0.0))
        return torch.where(has_one & has_other, made["both"], alone)


class SignalPrompt(nn.Module):
    """Two prompts of one modality, ``missing`` and ``available``, as long and as wide as its projected sequence.

    ``to_type`` turns the prompt of a sample into its part of the matrix of the set of missing modalities.

    Parameters
    ----------
    length, width : int
    """

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.missing, self.available, self.to_type = (
            nn.Parameter(torch.zeros(length, size)) for size in (width, width, 2 * width)
        )

    def forward(self, available: Tensor) -> tuple[Tensor, Tensor]:
        """Return the prompt [B, length, width] and the part of the matrix [B, width, 2 width] for samples [B] bool."""
        both = torch.stack([self.missing, self.available])
        chosen = available[:, None, None]
        missing, present = both
        missing_part, present_part = both.mT @ self.to_type
        return torch.where(chosen, present, missing), torch.where(chosen, present_part, missing_part)


class MPLMM(MPLMMBackbone):
    """Guo, Jin and Zhao, ACL 2024."""

    name = "mplmm"
    corruption = "absent"
    needs = ("mplmm_backbone",)
    reads_text = "vectors"
    told_absent = True
    official_counts: ClassVar[dict[str, int]] = {
        "mosi": 2_219_066,
        "mosei": 2_523_001,
        "sims": 1_443_875,
        "iemocap": 1_243_956,
    }
    compared = (
        "equal, of which 382,595 are trained on SIMS; with the aligned files of MulT (300 values, 50 steps) mosi "
        "1,149,421 (88,141) and mosei 1,156,981, equal, too"
    )
    exceptions: ClassVar[dict[str, dict[str, str]]] = {
        "gradients": {
            f"generators.*.mix.{name}.*": "samples that lack two modalities train it, and the check has no such samples"
            for name in MODALITIES
        }
    }

    class Hyperparameters(MPLMMBackbone.Hyperparameters):
        """Those of the official code, for all corpora."""

        prompt_length: int = Field(16, ge=1, description="steps of a generative prompt and of the prompts of types")
        type_prompt_init: Literal["normal", "zeros"] = Field(
            "normal",
            description="first values of the prompts of missing types. normal: with a standard deviation of 0.02. "
            "zeros: the prompts never train",
            json_schema_extra={"released": "zeros"},
        )

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h, width = hyperparameters, hyperparameters.width
        others = {name: [other for other in MODALITIES if other != name] for name in MODALITIES}
        self.generators = nn.ModuleDict(
            {
                name: Generator(
                    {other: getattr(spec, other) for other in others[name]},
                    {other: spec.length[other] for other in others[name]},
                    spec.length[name],
                    width=width,
                    prompt_length=h.prompt_length,
                )
                for name in MODALITIES
            }
        )
        self.signals = nn.ModuleDict({name: SignalPrompt(spec.length[name], width) for name in MODALITIES})
        self.type_prompts = nn.Parameter(torch.zeros(len(MODALITIES), h.prompt_length, width))
        if h.type_prompt_init == "normal":
            nn.init.normal_(self.type_prompts, std=_DEVIATION)
        for part in _FROZEN:
            getattr(self, part).requires_grad_(False)

    def start(self, teachers: dict[str, Method], database: "Database | None") -> None:
        """Take the frozen parts from the backbone.

        Raises
        ------
        ElisionError
            If the backbone has other sizes.
        """
        for backbone in teachers.values():
            for size in _SIZES:
                own, its = getattr(self.hyperparameters, size), getattr(backbone.hyperparameters, size)
                if own != its:
                    raise ElisionError(
                        f"mplmm: {size} is {own}, but {backbone.name} has {its}; set teachers.{backbone.name}.{size}: "
                        f"{own}"
                    )
            for part in _FROZEN:
                getattr(self, part).load_state_dict(getattr(backbone, part).state_dict())

    def fuse(self, batch: Batch) -> Tensor:
        """Return the last prompts of the modalities side by side [B, 6 width]."""
        told = self.available(batch)
        available = {name: told[:, i] & getattr(batch, name).valid.any(1) for i, name in enumerate(MODALITIES)}
        inputs, sequences, parts = self.inputs(batch), {}, []
        for name in MODALITIES:
            prompt, part = self.signals[name](available[name])
            made = self.generators[name](inputs, available)
            own = self.projection[name](inputs[name])
            sequences[name] = torch.where(available[name][:, None, None], own, made) + prompt
            parts.append(part)
        matrix = torch.stack(parts).sum(0)
        prompts = {name: prompt @ matrix for name, prompt in zip(MODALITIES, self.type_prompts, strict=True)}
        return torch.cat([*summarised(self.crossmodal, self.memory, sequences, prompts).values()], 1)
