"""CorrKD: correlation-decoupled distillation, built without the paper from its abstract, figures and descriptions.

The student has the network of the teacher (``corrkd_teacher``), which stays frozen and reads the complete data. Three
losses bring knowledge over. Between samples, the joint vector of a sample comes near the teacher's vector of the same
sample, and stays away from those of others. Between categories, the similarity to the mean vector of each class is
that of the teacher. Of the responses, the share of the true class and the shares of the other classes each tell as
much as possible of the teacher's.

No text of the paper and no code were at hand, so that the rows of this method are marked in tables. Known are the
three losses, their aims and the datasets, from the abstract, from captions, from descriptions by others and from the
tables of HRLF, by the same authors. The rest is here:

- Margin, learning rates, batches, epochs and heads are known at second hand. They may be wrong.
- Distances are Euclidean. The loss between samples is the mean over samples of the squared distance to the own vector,
  and of the mean squared lack of distance to the others (``margin``).
- Mean vectors of the classes are those of the batch. A class that the batch lacks is left out. Similarities are
  cosines, compared by their squared error (``prototype_loss``).
- A statistics network of two hidden layers, as in HRLF, bounds the mutual information of the responses
  (``response``). With two classes there is one other class, whose share is always 1: that part is left out.
- All weights are 1. Student and teacher have the same sizes and different weights. The student starts anew.
- Stochastic missing is the kind ``combined``, as for HRLF.

For scores, the classes are negative and positive ones (see ``corrkd_teacher``).
"""

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.errors import ElisionError
from elision.methods.base import Method
from elision.methods.corrkd_teacher import CorrKDTeacher, Responses
from elision.methods.layers.distillation import divergence
from elision.methods.layers.information import StatisticsNetwork
from elision.methods.layers.precision import float32
from elision.task import DataSpec, TaskKind

if TYPE_CHECKING:
    from elision.methods.layers.retrieval import Database

_FAR = -1e4  # logit of a class that a batch lacks


class CorrKD(CorrKDTeacher):
    """Li, Yang, Zhao et al., CVPR 2024.

    Where the parts are, beside those of `CorrKDTeacher`:

    - Modality random missing (MRM): the training corruption ``combined``; the teacher reads ``batch.clean``.
    - Sample-level contrastive distillation (SCD): `contrastive_distance`, the term ``contrast``.
    - Category-guided prototype distillation (CPD): `similarities`, the term ``prototypes``.
    - Response-disentangled consistency distillation (RCD): `split_response`, ``statistics``, the term ``response``.
    - "w/o SCD" and "w/o CPD": ``contrast`` and ``prototypes`` false; "w/o RCD": ``response: divergence``.
    """

    name = "corrkd"
    known_from = "its abstract, the captions of its figures and descriptions by others"
    corruption = "combined"
    needs = ("corrkd_teacher",)
    needs_complete = True
    reads_text = "vectors"
    official_counts: ClassVar[dict[str, int]] = {"iemocap": 451_446}
    compared = "no code was released; 34,562 are statistics networks"
    small: ClassVar[dict] = {"width": 8, "heads": 2, "layers": 1, "dropout": 0.0}

    class Hyperparameters(CorrKDTeacher.Hyperparameters):
        """Those that descriptions give for IEMOCAP, and those of HRLF."""

        contrast: bool = Field(True, description="false trains without SCD, the distances between samples")
        margin: float = Field(
            1.4,
            gt=0,
            description="distance from the teacher's vectors of other samples beyond which nothing pushes; known at "
            "second hand",
        )
        contrast_weight: float = Field(1.0, gt=0, description="weight of SCD; ours")
        prototypes: bool = Field(True, description="false trains without CPD, the similarities to mean vectors")
        prototype_loss: Literal["squared_error", "divergence"] = Field(
            "squared_error",
            description="comparison of the similarities. squared_error: of cosines. divergence: KL of their softmax "
            "over the classes",
            json_schema_extra={"released": None},
        )
        prototype_weight: float = Field(1.0, gt=0, description="weight of CPD; ours")
        response: Literal["information", "decoupled", "divergence"] = Field(
            "information",
            description="distillation of the responses. information: mutual information of both parts. decoupled: KL "
            "of each part. divergence: KL of the whole, without RCD",
            json_schema_extra={"released": None},
        )
        response_weight: float = Field(1.0, gt=0, description="weight of the distillation of the responses; ours")
        statistics_width: int = Field(
            128, ge=1, description="width of both hidden layers of a statistics network; ours, as in HRLF"
        )
        strangers: int = Field(
            1, ge=1, description="other samples that are paired with each sample to estimate the information; ours"
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        **CorrKDTeacher.corpus_defaults,
        "mosi": {**CorrKDTeacher.corpus_defaults["mosi"], "margin": 1.2},
        "mosei": {**CorrKDTeacher.corpus_defaults["mosei"], "margin": 1.0},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        self.classes = 2 if spec.task is TaskKind.REGRESSION else spec.outputs
        widths = [1, self.classes - 1] if self.classes > 2 else [1]
        self.statistics = nn.ModuleList(
            StatisticsNetwork(width, h.statistics_width) for width in widths if h.response == "information"
        )
        # In a list, so that it is no part of the weights.
        self._teacher: list[CorrKDTeacher] = []

    def start(self, teachers: dict[str, Method], database: "Database | None") -> None:
        """Take the teacher.

        Raises
        ------
        ElisionError
            If its joint vector has another width.
        """
        self._teacher = list(teachers.values())
        for teacher in self._teacher:
            own, its = self.hyperparameters.width, teacher.hyperparameters.width
            if own != its:
                raise ElisionError(
                    f"corrkd: width is {own}, but its teacher has {its}; set teachers.{teacher.name}.width: {own}"
                )

    def teach(self, batch: Batch) -> Responses:
        """Return what the teacher makes of the complete data; no gradient flows into it."""
        # A copy of the student takes the teacher along, but moving it to a device does not.
        (teacher,) = (each.to(batch.label.device) for each in self._teacher)
        with torch.no_grad():
            return teacher.represent(batch.clean)

    def compare_prototypes(self, student: Tensor, teacher: Tensor, category: Tensor) -> Tensor:
        """Return L_CPD of joint vectors [B, D] of classes [B]."""
        found, wanted = (similarities(joint, category, self.classes) for joint in (student, teacher))
        present = one_hot(category, self.classes).any(0)
        if self.hyperparameters.prototype_loss == "squared_error":
            # What a class that is not there adds is 0.
            return (found - wanted).square().sum() / (len(found) * present.sum())
        logs = [each.masked_fill(~present, _FAR).log_softmax(1) for each in (found, wanted)]
        return F.kl_div(*logs, reduction="batchmean", log_target=True)

    def compare_responses(self, student: Tensor, teacher: Tensor, category: Tensor) -> Tensor:
        """Return L_RCD, or what stands for it, of logits [B, C] of samples whose classes are known [B]."""
        h = self.hyperparameters
        if h.response == "divergence":
            return divergence(student, teacher)
        parts = list(zip(split_response(student, category), split_response(teacher, category), strict=True))
        if h.response == "decoupled":
            return sum(divergence(*part) for part in parts)
        # The share of the true class is one of two: the first tells both.
        pairs = [[logits.softmax(1) for logits in part] for part in parts]
        pairs[0] = [share[:, :1] for share in pairs[0]]
        networks = zip(self.statistics, pairs, strict=False)
        return -sum(net.information(wanted, found, h.strangers) for net, (found, wanted) in networks)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of the task and of the three distillations."""
        h = self.hyperparameters
        student, teacher, category = self.represent(batch), self.teach(batch), self.categories(batch.label)
        terms = self.task_terms(student, batch.label)
        if h.contrast:
            terms["contrast"] = h.contrast_weight * contrastive_distance(student.joint, teacher.joint, h.margin)
        if h.prototypes:
            terms["prototypes"] = h.prototype_weight * self.compare_prototypes(student.joint, teacher.joint, category)
        terms["response"] = h.response_weight * self.compare_responses(student.logits, teacher.logits, category)
        return terms


@float32
def contrastive_distance(student: Tensor, teacher: Tensor, margin: float) -> Tensor:
    """Return L_SCD: near the teacher's vector of the same sample, at least ``margin`` away from all others.

    Parameters
    ----------
    student, teacher : Tensor [B, D]
    margin : float

    Returns
    -------
    Tensor []
        Mean over samples of D(s_i, t_i)^2 + mean over j != i of max(0, margin - D(s_i, t_j))^2.
    """
    # Unlike the root of a sum of squares, a norm has a gradient of 0 at 0.
    distances = torch.linalg.vector_norm(student[:, None] - teacher, dim=2)
    own = torch.eye(len(distances), dtype=torch.bool, device=distances.device)
    lacking = F.relu(margin - distances).square().masked_fill(own, 0.0)
    count = len(distances)
    return distances.diagonal().square().mean() + lacking.sum() / max(1, count * (count - 1))


def one_hot(category: Tensor, classes: int) -> Tensor:
    """Return which class each sample has [B, C] bool. Unlike that of PyTorch, nothing waits for the device."""
    return category[:, None] == torch.arange(classes, device=category.device)


@float32
def similarities(joint: Tensor, category: Tensor, classes: int) -> Tensor:
    """Return the cosine [B, C] of each vector [B, D] with the mean vector of each class; 0 for a class without one."""
    members = one_hot(category, classes).to(joint)
    means = members.T @ joint / members.sum(0)[:, None].clamp(min=1)
    return F.cosine_similarity(joint[:, None], means, dim=2)


@float32
def split_response(logits: Tensor, category: Tensor) -> tuple[Tensor, Tensor]:
    """Part logits [B, C] into those of the true class against the others, and those among the others.

    Returns
    -------
    target : Tensor [B, 2]
        Their softmax is the share of the true class, and that of all others.
    others : Tensor [B, C - 1]
        Their softmax are the shares of the other classes, of what is left.
    """
    target = logits.gather(1, category[:, None])
    places = torch.arange(logits.shape[1] - 1, device=logits.device)
    others = logits.gather(1, places + (places >= category[:, None]))
    return torch.cat([target, others.logsumexp(1, keepdim=True)], 1), others
