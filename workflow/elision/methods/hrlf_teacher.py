"""The teacher of HRLF: the same network as the student, trained on complete data.

Each modality becomes a vector. The vector is factorised into a code of its sentiment and a code of the modality
itself. The codes side by side pass through a bottleneck. The layers of the bottleneck are the scales on which the
student is later compared.

No code was released. The paper leaves the following open:

- Depth, feed-forward layer, dropout, hidden layers and clipping are hyperparameters, with the values of MulT where
  MulT has them. Transformer layers are pre-norm (``pre_norm``). Positions are added at every frame. The convolution
  keeps the length and has no bias (``convolution_bias``). A ReLU lies between the layers of the bottleneck
  (``bottleneck_relu``). The classifier is one linear layer.
- The vector of a modality is its last time step in the paper, and its last valid one here (``last_index``). Padding
  is not attended. A modality without a valid frame is read as one frame of zeros.
- The paper makes the joint vector of both codes, with a width of 3 d. A code therefore has d / 2 entries (``joint``).
- Scales of equal width are put side by side. The widths 3 d, 2 d and d of the paper fit their sum (``scales``).
- The gradient of L_FRF does not reach its targets (``factorisation_targets``). Where the gradient does, vectors that
  are the same for every sample meet every target, and the network ends there.
- Squared distances are averaged over the entries of a vector (``factorisation_error``). A sum, as printed, outweighs
  the task by the width.
- The teacher learns from the loss of the task and from L_FRF (``factorisation_loss``).
- Codes and bottleneck start with Kaiming's normal weights and biases of 0 (``initialisation``). They are six layers,
  one after the other. With the default weights of PyTorch, each layer makes the differences between utterances smaller.
  The first logits of MOSI's text then deviate from each other by 0.001, against 0.28. With the learning rate of 0.004,
  five epochs on MOSI's text alone (two classes) end in a constant. With Kaiming's weights, the accuracy is 78, as that
  of a linear probe. On RAVDESS, with 14 actors for training and 8 for test, the WA of the teacher is 48 with PyTorch's
  weights and 60 with Kaiming's, and that of a linear probe is 68.
- The paper has a learning rate of 0.004 on IEMOCAP, and the default here is 0.001. The loss of the student has no lower
  bound. With 0.004, L_HAL reached -13 in the third epoch on a fold of RAVDESS, and the student predicted one class.
  With 0.001, on the split above, the WA is 57 for the student and 59 for its teacher.
- The learning rate stays, unless ``plateau_patience`` is set. A score has the squared error, classes the
  cross-entropy.

The other default hyperparameters are those of the paper for IEMOCAP (section 4.2). The paper names a sequence length of
300, which is most likely the width of its text vectors. Here sequences have the length of the dataset.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch
from elision.methods.base import Method, Prediction
from elision.methods.layers.information import perceptron
from elision.methods.layers.mmin_family import initialise
from elision.methods.layers.plateau import Plateau
from elision.methods.layers.precision import raised
from elision.methods.layers.sequence import SequenceHyperparameters, sequence_encoders
from elision.task import MODALITIES, DataSpec


class Factorisation(nn.Module):
    """Fine-grained representation factorisation (FRF, section 3.3).

    Each modality has a sentiment encoder ES and a modality encoder EM; all share the decoder D_r.

    Parameters
    ----------
    width, code, hidden : int
        Of the vectors, of both codes, and of the hidden layers.
    error : str
        ``mean`` or ``sum`` of the squared differences over the entries of a vector.
    targets : str
        ``fixed`` or ``learnt``: whether the gradient of the losses reaches what is to be met.
    """

    def __init__(self, width: int, code: int, hidden: int, *, error: str, targets: str) -> None:
        super().__init__()
        self.error, self.targets = error, targets
        self.sentiment = nn.ModuleDict({name: perceptron(width, hidden, code) for name in MODALITIES})
        self.modality = nn.ModuleDict({name: perceptron(width, hidden, code) for name in MODALITIES})
        self.decoder = perceptron(2 * code, hidden, width)

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sentiment codes Q and the modality codes U [B, 3, code] of the vectors Z [B, 3, width]."""
        by_modality = vectors.unbind(1)
        sentiment = [encode(z) for encode, z in zip(self.sentiment.values(), by_modality, strict=True)]
        modality = [encode(z) for encode, z in zip(self.modality.values(), by_modality, strict=True)]
        return torch.stack(sentiment, 1), torch.stack(modality, 1)

    def translate(self, sentiment: Tensor, modality: Tensor) -> Tensor:
        """Decode the sentiment of each modality in each: [:, a, b] of [B, 3, 3, width] is D_r([Q_a; U_b])."""
        count = sentiment.shape[1]
        pairs = [sentiment[:, :, None].expand(-1, -1, count, -1), modality[:, None].expand(-1, count, -1, -1)]
        return self.decoder(torch.cat(pairs, 3))

    def losses(self, vectors: Tensor, sentiment: Tensor, modality: Tensor) -> dict[str, Tensor]:
        """Return L_self, L_cross and L_recon (equations 1 to 3).

        Parameters
        ----------
        vectors : Tensor [B, 3, width]
        sentiment, modality : Tensor [B, 3, code]
        """
        translated = self.translate(sentiment, modality)
        if self.targets == "fixed":
            vectors, sentiment = vectors.detach(), sentiment.detach()
        errors = self.distance(translated, vectors[:, None])
        # Row by row, each entry of the diagonal is followed by as many others as there are modalities.
        others = errors.flatten(1)[:, 1:].unflatten(1, (-1, errors.shape[1] + 1))[..., :-1]
        # What modality a shows with the sentiment of any b must hold, read by a's own encoder, the sentiment of a.
        recoded = [encode(z) for encode, z in zip(self.sentiment.values(), translated.unbind(2), strict=True)]
        return {
            "self_translation": errors.diagonal(dim1=1, dim2=2).mean(),
            "cross_translation": others.mean(),
            "reconstruction": self.distance(torch.stack(recoded, 2), sentiment[:, None]).mean(),
        }

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the squared distance of vectors, which lie along the last dimension."""
        squares = (raised(x) - raised(y)).square()
        return squares.mean(-1) if self.error == "mean" else squares.sum(-1)


class Bottleneck(nn.Module):
    """Fully connected layers of widths 3 d, 2 d, d, 2 d and 3 d (section 3.4).

    Parameters
    ----------
    width : int
        d.
    relu : bool
        Put a ReLU after each layer but the last.
    """

    def __init__(self, width: int, *, relu: bool) -> None:
        super().__init__()
        self.activation = F.relu if relu else nn.Identity()
        widths = [3 * width, 2 * width, width, 2 * width, 3 * width]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, joint: Tensor) -> list[Tensor]:
        """Return H [B, 3 d] itself, I1, I2, I3, and the refined H~ [B, 3 d]."""
        features = [joint]
        for layer in self.layers[:-1]:
            features.append(self.activation(layer(features[-1])))
        return [*features, self.layers[-1](features[-1])]


@dataclass
class Representations:
    """What the network makes of a batch.

    Attributes
    ----------
    vectors : Tensor [B, 3, d]
        Z of text, audio and vision.
    codes : tuple of Tensor [B, 3, k], or None
        Sentiment codes Q and modality codes U; None without the factorisation.
    scales : list of Tensor
        E1, E2 and E3 [B, D], the features that teacher and student share.
    refined : Tensor [B, 3 d]
        H~.
    output : Tensor [B] or [B, C]
    """

    vectors: Tensor
    codes: tuple[Tensor, Tensor] | None
    scales: list[Tensor]
    refined: Tensor
    output: Tensor


class HRLFTeacher(Method):
    """Li, Yang, Liu et al., NeurIPS 2024: the teacher of HRLF, on complete data.

    Where the parts of the paper are:

    - Section 3.3, a modality's R_m (convolution and positions) and Z_m = F_m(R_m): `SequenceEncoder`, ``sequences``.
    - Section 3.3, fine-grained representation factorisation (FRF), Q_m = ES_m(Z_m) and U_m = EM_m(Z_m):
      ``factorisation.sentiment`` and ``factorisation.modality``; Z_ab = D_r(Q_a, U_b): ``factorisation.decoder``.
      Equations 1 to 3: the terms ``self_translation``, ``cross_translation`` and ``reconstruction``; 4 is their sum.
    - Sections 3.2 and 3.4, C_m, the joint H, and H~ over I1, I2 and I3: `represent` and ``bottleneck``; the multi-scale
      E1, E2 and E3: ``Representations.scales``.
    - Section 3.6, the classifier: ``head``; L_task: the term ``sentiment``.
    - Section 3.2 (i), the teacher is trained on complete data: ``corruption``.
    """

    name = "hrlf_teacher"
    error_of_scores = "squared"
    corruption = "complete"
    paper = (
        "Li, Yang, Liu, Wang, Chen, Wang, Wei, Jiang, Xu, Hou, Sun, Qian, Kou, Zhang: Toward Robust Incomplete "
        "Multimodal Sentiment Analysis via Hierarchical Representation Learning. NeurIPS 2024, arXiv 2411.02793"
    )
    reads_text = "vectors"
    official_counts: ClassVar[dict[str, int]] = {"iemocap": 460_844}
    compared = "no code was released"
    small: ClassVar[dict] = {"width": 8, "heads": 2, "layers": 1, "dropout": 0.0}

    class Hyperparameters(SequenceHyperparameters):
        """Those of the paper for IEMOCAP; what it does not give is ours."""

        epochs: int = Field(30, ge=0, description="passes over the training split")
        batch_size: int = Field(32, ge=1, description="utterances per forward pass")
        learning_rate: float = Field(
            1e-3,
            gt=0,
            description="learning rate of Adam. The paper has 0.004 on IEMOCAP, with which L_HAL of the student may "
            "fall without end",
            json_schema_extra={"released": None},
        )
        plateau_patience: int | None = Field(
            None,
            ge=0,
            description="epochs without a better validation error after which the learning rate is halved "
            "(null: never). The paper gives no schedule",
            json_schema_extra={"released": None},
        )
        width: int = Field(40, ge=2, multiple_of=2, description="width d of the vector of a modality")
        last_index: bool = Field(
            False,
            description="step that is the vector of a modality. false: the last step of the sequence. true: the "
            "last padded step",
            json_schema_extra={"released": None},
        )
        factorisation: bool = Field(
            True, description="false trains without FRF; the vectors go into the bottleneck as they are"
        )
        factorisation_loss: bool = Field(
            True,
            description="true trains with L_FRF; the paper does not say whether the teacher does",
            json_schema_extra={"released": None},
        )
        factorisation_error: Literal["mean", "sum"] = Field(
            "mean",
            description="reduction over the entries of a vector in equations 1 to 3. sum, as printed, outweighs "
            "the task by the width",
            json_schema_extra={"released": None},
        )
        factorisation_targets: Literal["fixed", "learnt"] = Field(
            "fixed",
            description="whether the gradient of L_FRF reaches its targets. fixed: no. learnt: yes; vectors may "
            "become equal for every sample",
            json_schema_extra={"released": None},
        )
        joint: Literal["both", "sentiment_only"] = Field(
            "both",
            description="codes that are joined. both: sentiment and modality codes of width d / 2. "
            "sentiment_only: sentiment codes of width d",
            json_schema_extra={"released": None},
        )
        code_hidden: int = Field(
            40, ge=1, description="hidden width of the code encoders and of the decoder; the paper gives none"
        )
        bottleneck_relu: bool = Field(
            True,
            description="true has a ReLU after each inner layer of the bottleneck; the paper gives no detail",
            json_schema_extra={"released": None},
        )
        initialisation: Literal["kaiming", "pytorch"] = Field(
            "kaiming",
            description="initial weights of the codes and of the bottleneck. kaiming: deviation root of 2 / inputs, "
            "biases 0. pytorch: the default of PyTorch, with which the first outputs hardly depend on the input",
            json_schema_extra={"released": None},
        )
        scales: Literal["concatenated", "added"] = Field(
            "concatenated",
            description="how features of equal width make a scale. concatenated: 6 d, 4 d and d wide. added: 3 "
            "d, 2 d and d wide. Teacher and student need the same",
            json_schema_extra={"released": None},
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosi": {"epochs": 50, "batch_size": 128, "learning_rate": 1e-3},
        "mosei": {"epochs": 20, "batch_size": 16, "learning_rate": 2e-3, "heads": 8},
        "iemocap": {"epochs": 30, "batch_size": 32, "learning_rate": 1e-3},
        "demo": {"epochs": 10, "batch_size": 8, "learning_rate": 1e-3, "layers": 2},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h, width = hyperparameters, hyperparameters.width
        self.sequences = sequence_encoders(h, spec, last_index=h.last_index)
        if h.factorisation:
            code = width // 2 if h.joint == "both" else width
            self.factorisation = Factorisation(
                width, code, h.code_hidden, error=h.factorisation_error, targets=h.factorisation_targets
            )
        self.bottleneck = Bottleneck(width, relu=h.bottleneck_relu)
        if h.initialisation == "kaiming":
            for part in [self.factorisation, self.bottleneck] if h.factorisation else [self.bottleneck]:
                initialise(part)
        self.head = nn.Linear(3 * width, spec.outputs)
        if h.plateau_patience is not None:
            self.plateau = Plateau(factor=0.5, patience=h.plateau_patience)

    def represent(self, batch: Batch) -> Representations:
        """Read a batch as it is, complete or not."""
        h = self.hyperparameters
        vectors = torch.stack([self.sequences[name](getattr(batch, name)) for name in MODALITIES], 1)
        codes = self.factorisation(vectors) if h.factorisation else None
        joined = vectors
        if codes:
            joined = torch.cat(codes, 2) if h.joint == "both" else codes[0]
        joint, first, narrow, third, refined = self.bottleneck(joined.flatten(1))
        pairs = [(joint, refined), (first, third)]
        wide = [torch.cat(pair, 1) if h.scales == "concatenated" else sum(pair) for pair in pairs]
        return Representations(vectors, codes, [*wide, narrow], refined, self.readout(self.head(refined)))

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the refined joint vector."""
        found = self.represent(batch)
        return Prediction(found.output, found.refined)

    def own_terms(self, found: Representations, label: Tensor) -> dict[str, Tensor]:
        """Return L_task and L_FRF, which need no other network."""
        terms = {"sentiment": self.error(found.output, label)}
        if found.codes and self.hyperparameters.factorisation_loss:
            terms |= self.factorisation.losses(found.vectors, *found.codes)
        return terms

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return L_task and L_FRF."""
        return self.own_terms(self.represent(batch), batch.label)

    def parts(self) -> list[list[nn.Parameter]]:
        """Return the parameters of each network that has an optimizer, and a norm that is clipped, of its own."""
        return [list(self.parameters())]

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """One Adam per network."""
        h = self.hyperparameters
        return [torch.optim.Adam(part, lr=h.learning_rate, weight_decay=h.weight_decay) for part in self.parts()]

    def after_backward(self) -> None:
        """Clip the norm of the gradient of each network."""
        for part in self.parts():
            nn.utils.clip_grad_norm_(part, self.hyperparameters.gradient_clip)

    def learning_rate_factor(self, epoch: int) -> float:
        """Halved on every plateau of the validation error, if plateaus are watched."""
        return 1.0 if self.hyperparameters.plateau_patience is None else self.plateau.multiplier

    def on_epoch_end(self, error: float) -> None:
        """Watch for a plateau."""
        if self.hyperparameters.plateau_patience is not None:
            self.plateau.step(error)
