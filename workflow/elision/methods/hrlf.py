"""HRLF: hierarchical representation learning for incomplete modalities.

The student has the network of the teacher (``hrlf_teacher``), which stays as it is. It sees corrupted data and is drawn
to what the teacher makes of the complete data: on three scales, mutual information with the teacher's features is
raised and discriminators learn to tell the two apart, and its output follows the teacher's. Only the student predicts.

No code was released. What the paper does not say is listed with the teacher, where it concerns the network; and here:

- The statistics networks of the mutual information have two hidden layers, and learn from the student's loss itself,
  which they minimise too. Pairs that do not belong together are made by moving the teacher's features on by one sample.
- A discriminator has one hidden layer. Discriminators take a step on the features of a batch, and then judge the
  student, which maximises log De(E_s) instead of minimising log(1 - De(E_s)), whose gradient vanishes where the
  discriminator is sure. ``discriminator: gradient_reversal`` plays the game as printed, in one step.
- A single score has no distribution, so L_KL is the squared distance of the scores (``score_distillation``).
- The student does not start from the teacher's weights.
- An ablation leaves out the modules and the terms; without FRF the vectors of the modalities are joined.

Student, statistics networks and discriminators have an Adam each, with the same hyperparameters, and their gradients
are clipped apart. With ``accumulate``, gradients of all three are summed; the discriminators take their step before the
student's last batch of the group, which is then judged by those that have just moved.

The stochastic missing of the paper is ``corruption: mixed``: in every modality, frames lost at a rate of its own
drawing, and whole modalities absent.
"""

from itertools import starmap
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from elision.batch import Batch
from elision.errors import ElisionError
from elision.methods.base import Method
from elision.methods.hrlf_teacher import HRLFTeacher, Representations, perceptron
from elision.params import TrainingCorruption
from elision.task import DataSpec, TaskKind

if TYPE_CHECKING:
    from elision.methods.layers.retrieval import Database


class StatisticsNetwork(nn.Module):
    """T: scores whether features of teacher and student belong to the same sample.

    Parameters
    ----------
    inputs, hidden : int
        Of the features of each, and of the two hidden layers.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * inputs, hidden), nn.ReLU(), *perceptron(hidden, hidden, 1))

    def forward(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return a score [B] of each pair of rows [B, inputs]."""
        return self.layers(torch.cat([teacher, student], 1)).squeeze(1)

    def information(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Bound the mutual information of features [B, inputs] of the same samples from below."""
        # In a shuffled batch, moving on by one pairs each sample with a random other.
        return information_bound(self(teacher, student), self(teacher.roll(1, 0), student))


class HRLF(HRLFTeacher):
    """Li, Yang, Liu et al., NeurIPS 2024.

    Where the parts of the paper are, beside those that `HRLFTeacher` lists:

    - Stochastic missing (MSM): the training corruption ``mixed``. The teacher reads ``batch.clean``.
    - Hierarchical mutual information (HMI), statistics network T of each scale: ``statistics``. I(E_t; E_s):
      `information_bound`. L_HMI: the term ``information``.
    - Hierarchical adversarial learning (HAL), De of each scale: ``discriminators``. L_HAL: `adversarial_value`, which
      they maximise (the term ``discriminators``); the student's side is the term ``adversarial``.
    - L_KL: the term ``distillation``. L_total: the sum of all terms, each with the weight 1.
    - "w/o FRF", "w/o HMI" and "w/o HAL" of the ablation: ``factorisation``, ``information`` and ``adversarial``.
    """

    name = "hrlf"
    needs = ("hrlf_teacher",)

    class Hyperparameters(HRLFTeacher.Hyperparameters):
        """Those of the paper for IEMOCAP; what it does not give is ours."""

        corruption: TrainingCorruption | None = Field(
            "mixed", description="the stochastic missing of the paper: frames and whole modalities"
        )
        information: bool = Field(True, description="false: without HMI, the mutual information with the teacher")
        adversarial: bool = Field(True, description="false: without HAL, the discriminators")
        statistics_width: int = Field(128, ge=1, description="both hidden layers of a statistics network; ours")
        discriminator_width: int = Field(128, ge=1, description="hidden layer of a discriminator; ours")
        discriminator: Literal["alternate", "gradient_reversal"] = Field(
            "alternate",
            description="a step of the discriminators, then the student's against them; or both in one step, with a "
            "reversed gradient",
        )
        score_distillation: Literal["squared_error", "none"] = Field(
            "squared_error", description="what stands for L_KL where the output is a score"
        )

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h, width = hyperparameters, hyperparameters.width
        widths = (6 * width, 4 * width, width) if h.scales == "concatenated" else (3 * width, 2 * width, width)
        self.statistics = nn.ModuleList(
            StatisticsNetwork(inputs, h.statistics_width) for inputs in widths if h.information
        )
        self.discriminators = nn.ModuleList(
            perceptron(inputs, h.discriminator_width, 1) for inputs in widths if h.adversarial
        )
        # In a list, so that it is no part of the weights.
        self._teacher: list[HRLFTeacher] = []

    def start(self, stages: dict[str, Method], database: "Database | None") -> None:
        """Take the teacher.

        Raises
        ------
        ElisionError
            If its features have other widths.
        """
        for name, teacher in stages.items():
            for field in ("width", "scales"):
                own, its = getattr(self.hyperparameters, field), getattr(teacher.hyperparameters, field)
                if own != its:
                    raise ElisionError(f"hrlf: {field} is {own!r}, but {its!r} in its teacher; set stages.{name} alike")
        self._teacher = list(stages.values())

    def teach(self, batch: Batch) -> Representations:
        """Return what the teacher makes of the complete data; no gradient flows into it."""
        # A copy of the student takes the teacher along, but moving it to a device does not.
        (teacher,) = (each.to(batch.label.device) for each in self._teacher)
        with torch.no_grad():
            return teacher.represent(batch.clean)

    def distil(self, output: Tensor, target: Tensor) -> Tensor:
        """Return L_KL: KL(teacher || student) of class logits [B, C], or what stands for it of scores [B]."""
        if self.spec.task is TaskKind.REGRESSION:
            return F.mse_loss(output, target)
        return F.kl_div(output.log_softmax(1), target.log_softmax(1), reduction="batchmean", log_target=True)

    def judge(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """Return -L_HAL, summed over the scales: the loss of the discriminators."""
        scales = zip(self.discriminators, student, teacher, strict=True)
        return -sum(adversarial_value(judge(e_student), judge(e_teacher)) for judge, e_student, e_teacher in scales)

    def discriminator_terms(self, student: Representations, teacher: Representations) -> dict[str, Tensor]:
        """Return the loss of the discriminators, whose gradient reaches nothing else."""
        return {"discriminators": self.judge([e.detach() for e in student.scales], teacher.scales)}

    def student_terms(self, student: Representations, teacher: Representations, label: Tensor) -> dict[str, Tensor]:
        """Return L_total: the loss of the student and of the statistics networks."""
        h = self.hyperparameters
        terms = self.own_terms(student, label)
        if h.information:
            scales = zip(self.statistics, teacher.scales, student.scales, strict=True)
            terms["information"] = -sum(net.information(e_teacher, e_student) for net, e_teacher, e_student in scales)
        if h.adversarial and h.discriminator == "alternate":
            judged = starmap(_judge_frozen, zip(self.discriminators, student.scales, strict=True))
            terms["adversarial"] = sum(F.softplus(-logits).mean() for logits in judged)
        elif h.adversarial:
            terms["adversarial"] = self.judge([_reverse_gradient(e) for e in student.scales], teacher.scales)
        if self.spec.task is TaskKind.CLASSIFICATION or h.score_distillation == "squared_error":
            terms["distillation"] = self.distil(student.output, teacher.output)
        return terms

    @property
    def alternates(self) -> bool:
        """Whether the discriminators have a step of their own."""
        return self.hyperparameters.adversarial and self.hyperparameters.discriminator == "alternate"

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of all networks; each gets the gradient of its own terms only."""
        student, teacher = self.represent(batch), self.teach(batch)
        own = self.discriminator_terms(student, teacher) if self.alternates else {}
        return own | self.student_terms(student, teacher, batch.label)

    def update(self, batch: Batch, optimizers: list[torch.optim.Optimizer], step: int) -> dict[str, Tensor]:
        """Learn from one batch: first the discriminators, then the student, unless gradients are reversed."""
        if not self.alternates:
            return super().update(batch, optimizers, step)
        *learners, discriminators = optimizers
        student, teacher = self.represent(batch), self.teach(batch)
        judged = self.discriminator_terms(student, teacher)
        self.descend(judged, [discriminators], step)
        terms = self.student_terms(student, teacher, batch.label)
        self.descend(terms, learners, step)
        return {name: term.detach() for name, term in (judged | terms).items()}

    def parts(self) -> list[list[nn.Parameter]]:
        """Student, statistics networks and discriminators, as far as they are there."""
        others = ("statistics.", "discriminators.")
        student = [p for name, p in self.named_parameters() if not name.startswith(others)]
        parts = [student, list(self.statistics.parameters()), list(self.discriminators.parameters())]
        return [part for part in parts if part]


def information_bound(joint: Tensor, marginal: Tensor) -> Tensor:
    """Jensen-Shannon bound of mutual information: E[-softplus(-T)] over pairs, minus E[softplus(T)] over strangers.

    Parameters
    ----------
    joint, marginal : Tensor [B]
        Scores T of pairs of one sample, and of pairs of different samples.

    Returns
    -------
    Tensor []
        At most 0; -2 log 2 where no score says anything.
    """
    return -F.softplus(-joint).mean() - F.softplus(marginal).mean()


def adversarial_value(student: Tensor, teacher: Tensor) -> Tensor:
    """L_HAL of one scale, E[log(1 - De(E_s)) + log De(E_t)], from logits [B, 1].

    Returns
    -------
    Tensor []
        At most 0, where the discriminator knows them apart; -2 log 2 where it says 1/2 to all.
    """
    return F.logsigmoid(-student).mean() + F.logsigmoid(teacher).mean()


def _judge_frozen(discriminator: nn.Module, features: Tensor) -> Tensor:
    """Return logits whose gradient reaches the features, not the discriminator."""
    return functional_call(discriminator, {n: p.detach() for n, p in discriminator.named_parameters()}, (features,))


def _reverse_gradient(x: Tensor) -> Tensor:
    """Return ``x`` to the bit, with a gradient of the opposite sign."""
    return 2 * x.detach() - x
