"""TATE: tag-assisted transformer encoder.

A tag of four numbers at every step of the joint sequence tells the encoder which modalities are absent. In training, a
decoder rebuilds the joint sequence from the output of the encoder. The output is also drawn to what a teacher
(``tate_teacher``) makes of the complete data. The vector that is classified must tell the tag.

The file follows the official code (TensorFlow 1). ``tate_teacher`` lists what differs in the network. The rest is here:

- The teacher reads complete data (``guide: complete``), as in the paper. The script of the official code feeds the
  incomplete batch (``guide: incomplete``). The script imports the graph of the teacher beside that of the student, so
  TensorFlow gives the imported tensors new names. The name that the script looks up is that of the student. What the
  script calls the pretrained output is therefore the student's own, with another draw of dropout (``guide: own``).
- The student starts with random weights.
- ``tag: constant`` is (0, 1, 1, 0) here, the last branch of the code.
- Each sample loses a set of modalities, or none, drawn anew in each epoch (``corruption: absent``). All sets have equal
  chances. The official code draws once, for 20 of 100 samples. The code draws one of four sets of absent modalities:
  vision, audio, text, or audio and text.
- The divergences are computed from logarithms of the softmax. Keras first limits probabilities to at least 1e-7.
- The official split is a random one of the utterances, and the official code selects checkpoints on the test split.
- On IEMOCAP, the penalty is a tenth, as in the official code.

The divergences compare softmax distributions over the features of a step, as in the code, although the features are no
logits. Both divergences and the error are summed over the batch. The error of the tag is a mean over the batch, and so
has a small weight.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from elision.batch import Batch
from elision.errors import ElisionError
from elision.methods.base import Method
from elision.methods.layers.precision import raised
from elision.methods.tate_teacher import TAG, AttentionBlock, TATETeacher
from elision.task import DataSpec

if TYPE_CHECKING:
    from elision.methods.layers.retrieval import Database


class TATE(TATETeacher):
    """Zeng, Liu and Zhou, SIGIR 2022."""

    name = "tate"
    corruption = "absent"
    needs = ("tate_teacher",)
    needs_complete = True
    reads_text = "vectors"
    told_absent = True
    official_counts: ClassVar[dict[str, int]] = {"sims": 5_881_361}
    compared = "equal without six matrices that nothing uses (360,600); with its three classes 5,881,963"

    constant_tag: ClassVar[tuple[float, ...]] = (0, 1, 1, 0)

    class Hyperparameters(TATETeacher.Hyperparameters):
        """Those of the official code."""

        penalty: float = Field(1e-4, ge=0, description="weight of half the squared norm of the last layer")
        guide: Literal["complete", "incomplete", "own"] = Field(
            "complete",
            description="what the output of the encoder is drawn to. complete: the output of the teacher for complete "
            "data. incomplete: that for the incomplete data. own: the output of the method itself, with another "
            "draw of dropout",
            json_schema_extra={"released": "own"},
        )
        guide_weight: float = Field(0.1, ge=0, description="weight of the divergence from the output of the teacher")
        reconstruction_weight: float = Field(
            0.1, ge=0, description="weight of the divergence of the rebuilt joint sequence"
        )
        tag_weight: float = Field(0.1, ge=0, description="weight of the absolute error of the predicted tag")

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        self.decoder = AttentionBlock(h.width + TAG, h.heads, h.dropout)
        self.initialise()
        # In a list, so that it is no part of the weights.
        self._teacher: list[TATETeacher] = []

    def start(self, teachers: dict[str, Method], database: "Database | None") -> None:
        """Keep the teacher for the loss.

        Raises
        ------
        ElisionError
            If its steps have another width.
        """
        self._teacher = list(teachers.values())
        for teacher in self._teacher:
            own, its = self.hyperparameters.width, teacher.hyperparameters.width
            if own != its:
                raise ElisionError(
                    f"tate: width is {own}, but its teacher has {its}; set teachers.{teacher.name}.width: {own}"
                )

    def guided(self, batch: Batch) -> Tensor:
        """Return what the output of the encoder is drawn to [B, T, width + 4], without a gradient."""
        guide = self.hyperparameters.guide
        with torch.no_grad():
            if guide == "own":
                return self.encode(batch).encoded
            (teacher,) = (each.to(batch.label.device) for each in self._teacher)
            return teacher.encode(batch.clean if guide == "complete" else batch).encoded

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the error, the penalty of the last layer, both divergences, and the error of the tag."""
        h, found = self.hyperparameters, self.encode(batch)
        decoded = self.decoder(found.encoded, found.seen)
        told = raised(found.pooled[:, -TAG:]).sigmoid()
        return self.own_terms(found, batch.label, self.head) | {
            "guide": h.guide_weight * divergence(found.encoded, self.guided(batch), found.seen),
            "reconstruction": h.reconstruction_weight * divergence(decoded, found.joint, found.seen),
            "tag": h.tag_weight * (told - found.tag).abs().mean(),
        }


def divergence(x: Tensor, y: Tensor, seen: Tensor) -> Tensor:
    """Sum both Kullback-Leibler divergences of softmax distributions over features.

    Parameters
    ----------
    x, y : Tensor [B, T, d]
    seen : Tensor [B, T] bool
        The steps that count, of which each sample has one.

    Returns
    -------
    Tensor []
        Mean over the steps of a sample, summed over the samples.
    """
    p, q = raised(x).log_softmax(2), raised(y).log_softmax(2)
    both = ((p.exp() - q.exp()) * (p - q)).sum(2)
    return ((both * seen).sum(1) / seen.sum(1)).sum()
