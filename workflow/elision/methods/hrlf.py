"""HRLF: hierarchical representation learning for incomplete modalities.

The student has the network of the teacher (``hrlf_teacher``), which stays frozen. The student sees corrupted data,
and is drawn to what the teacher makes of the complete data. On three scales, mutual information with the features of
the teacher is raised, and discriminators learn to tell the two apart. The output of the student follows that of the
teacher. Only the student predicts.

No code was released. ``hrlf_teacher`` lists what the paper leaves open about the network. The rest is here:

- The paper names the pre-trained teacher and the initialised student, and says that both have different parameters.
  ``protocol: hrlf`` therefore starts the student anew (``start_from_teacher: false``). Elsewhere the student starts
  from the weights of the teacher, which is ours. A student that starts anew is known to the discriminators by its
  features at once.
- Discriminators have one hidden layer. They take a step on the features of a batch, and then judge the student. The
  student minimises log(1 - De(E_s)), as equation 9 is printed, and is left alone where they are sure (``adversary``).
  With ``non_saturating`` the student maximises log De(E_s). Then discriminators that always know the student drive
  its features to be the same for every sample.
- The statistics networks of the mutual information have two hidden layers. They learn from the loss of the student,
  which they minimise, too. Moving the features of the teacher on by one sample of the shuffled batch makes pairs of
  different samples (``strangers``).
- A single score has no distribution, so that L_KL is the squared distance of the scores (``score_distillation``). A
  dataset of scores with ``task: classification`` and ``cuts: [0]`` has two classes, and the divergence as printed.
- An ablation leaves out the modules and the terms. Without FRF, the vectors of the modalities are joined. An ablation
  changes the student alone: the teacher has hyperparameters of its own (``teachers``), ``factorisation: false`` among
  them.

Student, statistics networks and discriminators have an Adam each, with the same hyperparameters. Their gradients are
clipped apart. With ``accumulate``, gradients of all three are summed. The discriminators then step before the last
batch of the student's group, which the moved discriminators judge.

The stochastic missing of the paper is the kind ``combined``. Each sample has a rate of 0, 0.1, ..., 0.9 at which
frames are lost, and a set of absent modalities, none included. Both are ours.
"""

from itertools import starmap
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from elision.batch import Batch
from elision.errors import ElisionError
from elision.methods.base import Method
from elision.methods.hrlf_teacher import HRLFTeacher, Representations
from elision.methods.layers.information import StatisticsNetwork, perceptron
from elision.methods.layers.precision import float32, raised
from elision.task import DataSpec, TaskKind

if TYPE_CHECKING:
    from elision.methods.layers.retrieval import Database


class HRLF(HRLFTeacher):
    """Li, Yang, Liu et al., NeurIPS 2024.

    Where the parts of the paper are, beside those that `HRLFTeacher` lists:

    - Section 3.2, modality stochastic missing (MSM): the training corruption ``combined``; the teacher reads
      ``batch.clean``. Its features, of which no gradient comes back: `teach`.
    - Section 3.4, hierarchical mutual information maximisation (HMI), T of each scale: ``statistics``; equation 7:
      `information_bound`; equation 8: the term ``information``.
    - Section 3.5, hierarchical adversarial learning (HAL), De of each scale: ``discriminators``; equation 9:
      `adversarial_value`, which they maximise (term ``discriminators``) and the student minimises (``adversarial``).
    - Section 3.6, L_KL: the term ``distillation``; L_total: the sum of all terms but ``discriminators``, each with the
      weight 1.
    - Section 4.4, "w/o FRF", "w/o HMI" and "w/o HAL": ``factorisation``, ``information`` and ``adversarial`` false.
    """

    name = "hrlf"
    corruption = "combined"
    needs = ("hrlf_teacher",)
    needs_complete = True
    compiled = ("loss", "represent", "predict")
    sums_gradients = False
    reads_text = "vectors"
    official_counts: ClassVar[dict[str, int]] = {"iemocap": 680_882}
    compared = "no code was released; 162,947 are statistics networks and 57,091 discriminators"
    # Features and scores of an untrained teacher are noise, which would keep the student from the labels. Dropout lies
    # on attention weights, where the comparison with the GPU cannot switch it off.
    small: ClassVar[dict] = {
        "width": 8,
        "heads": 2,
        "layers": 1,
        "dropout": 0.0,
        "adversarial_weight": 0.1,
        "score_distillation": "none",
    }

    class Hyperparameters(HRLFTeacher.Hyperparameters):
        """Those of the paper for IEMOCAP; what it does not give is ours."""

        information: bool = Field(True, description="false trains without HMI, the mutual information with the teacher")
        adversarial: bool = Field(True, description="false trains without HAL, the discriminators")
        adversarial_weight: float = Field(
            1.0,
            gt=0,
            description="weight of L_HAL in the loss of the student. The paper weighs all losses with 1. A "
            "smaller weight trains more gently",
            json_schema_extra={"released": None},
        )
        statistics_width: int = Field(
            128, ge=1, description="width of both hidden layers of a statistics network; the paper gives none"
        )
        discriminator_width: int = Field(
            128, ge=1, description="width of the hidden layer of a discriminator; the paper gives none"
        )
        adversary: Literal["minimax", "non_saturating", "gradient_reversal"] = Field(
            "minimax",
            description="game of the student against the discriminators. minimax: the discriminators step "
            "first, then the student minimises L_HAL. non_saturating: the student maximises log "
            "De(E_s). gradient_reversal: both move in one step",
            json_schema_extra={"released": None},
        )
        strangers: int = Field(
            1,
            ge=1,
            description="other samples that are paired with each sample to estimate the mutual information; the "
            "paper gives no number",
            json_schema_extra={"released": None},
        )
        start_from_teacher: bool = Field(
            True,
            description="true starts the student from the weights of the teacher. The paper initialises the "
            "student anew, and so does protocol hrlf",
            json_schema_extra={"released": None},
        )
        score_distillation: Literal["squared_error", "none"] = Field(
            "squared_error",
            description="loss in place of L_KL where the output is a score; L_KL is not defined for scores",
            json_schema_extra={"released": None},
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

    def start(self, teachers: dict[str, Method], database: "Database | None") -> None:
        """Take the teacher, and its weights.

        Raises
        ------
        ElisionError
            If its features have other widths, or its weights other shapes.
        """
        self._teacher = list(teachers.values())
        for teacher in self._teacher:
            for field in ("width", "scales"):
                own, its = getattr(self.hyperparameters, field), getattr(teacher.hyperparameters, field)
                if own != its:
                    raise ElisionError(
                        f"hrlf: {field} is {own!r}, but its teacher has {its!r}; set "
                        f"teachers.{teacher.name}.{field}: {own}"
                    )
            if self.hyperparameters.start_from_teacher:
                self._copy(teacher)

    def _copy(self, teacher: HRLFTeacher) -> None:
        """Take over the weights of the modules that both have."""
        for name in ("sequences", "factorisation", "bottleneck", "head"):
            if hasattr(self, name) and hasattr(teacher, name):
                try:
                    getattr(self, name).load_state_dict(getattr(teacher, name).state_dict())
                except RuntimeError as error:
                    raise ElisionError(
                        f"hrlf: {name} has another shape in its teacher; set the same hyperparameters under "
                        f"teachers.{teacher.name}, or start_from_teacher: false"
                    ) from error

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
        """Return -L_HAL (equation 9), summed over the scales: the loss of the discriminators."""
        scales = zip(self.discriminators, student, teacher, strict=True)
        return -sum(adversarial_value(judge(e_student), judge(e_teacher)) for judge, e_student, e_teacher in scales)

    def discriminator_terms(self, student: Representations, teacher: Representations) -> dict[str, Tensor]:
        """Return the loss of the discriminators, whose gradient reaches nothing else."""
        return {"discriminators": self.judge([e.detach() for e in student.scales], teacher.scales)}

    def mislead(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """Return the student's side of HAL, summed over the scales."""
        kind = self.hyperparameters.adversary
        if kind == "gradient_reversal":
            return self.judge([_reverse_gradient(e) for e in student], teacher)
        judged = starmap(_judge_frozen, zip(self.discriminators, student, strict=True))
        if kind == "non_saturating":
            return -sum(F.logsigmoid(raised(logits)).mean() for logits in judged)
        return sum(F.logsigmoid(-raised(logits)).mean() for logits in judged)

    def student_terms(self, student: Representations, teacher: Representations, label: Tensor) -> dict[str, Tensor]:
        """Return L_total: the loss of the student and of the statistics networks."""
        h = self.hyperparameters
        terms = self.own_terms(student, label)
        if h.information:
            scales = zip(self.statistics, teacher.scales, student.scales, strict=True)
            terms["information"] = -sum(net.information(*pair, strangers=h.strangers) for net, *pair in scales)
        if h.adversarial:
            terms["adversarial"] = h.adversarial_weight * self.mislead(student.scales, teacher.scales)
        if self.spec.task is TaskKind.CLASSIFICATION or h.score_distillation == "squared_error":
            terms["distillation"] = self.distil(student.output, teacher.output)
        return terms

    @property
    def alternates(self) -> bool:
        """Whether the discriminators have a step of their own."""
        return self.hyperparameters.adversarial and self.hyperparameters.adversary != "gradient_reversal"

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


@float32
def adversarial_value(student: Tensor, teacher: Tensor) -> Tensor:
    """L_HAL of one scale (equation 9), E[log(1 - De(E_s)) + log De(E_t)], from logits [B, 1].

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
