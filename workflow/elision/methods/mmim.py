"""MMIM: multimodal fusion by hierarchical mutual information maximisation.

The method raises two bounds of mutual information beside the regression. The first bound lies between text and each
of audio and vision: a Gaussian likelihood plus the entropy of a mixture of two Gaussians. The second bound lies
between the fused vector and each modality, and is contrastive. Every epoch has two passes. The first pass fits the
Gaussians and nothing else. The second pass fits everything except the Gaussians.

The file has the hyperparameters of MMSA. Where the released code and the paper differ, the file follows the code:

- The Gaussian likelihood lacks its term -logvar / 2, so that a large variance always raises the likelihood.
  ``log_variance_term`` restores the term.
- No gradient ever trains the projection in which the entropy is taken. Before PyTorch 2, cleared gradients were
  zeros, and weight decay shrank the projection. Since PyTorch 2, the projection stays as it was drawn. The projection
  stays here, too.
- The entropy counts from the third batch of a pass. By then the pass has read one batch more than the memory holds.
- On MOSEI, the first pass ends after half of the batches, in the authors' code and, since September 2022, in MMSA
  (``bound_share``).
- LSTMs read both ways in MMSA, and one way by default in the authors' code (``bidirectional``).

What differs here: a covariance gets 1e-6 on its diagonal. The entropy therefore stays finite with few samples of a
sign, or none. The projection is frozen, so that its gradient does not count in the clipped norm. The released
configurations never use three parts, which are left out. These are layers after the first in LSTMs, layers after the
first in contrastive heads, and the bound between vision and audio.
"""

import math
from collections import deque
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Batch, Sequence
from elision.methods.base import Method, Prediction
from elision.methods.layers.packing import read
from elision.methods.layers.plateau import Plateau
from elision.methods.layers.precision import float32, raised
from elision.task import DataSpec

_JITTER = 1e-6


class RecurrentEncoder(nn.Module):
    """Last hidden states of a one-layer LSTM over the valid frames, one per direction, projected."""

    def __init__(self, inputs: int, hidden: int, outputs: int, bidirectional: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True, bidirectional=bidirectional)
        self.out = nn.Linear(hidden * (2 if bidirectional else 1), outputs)

    def forward(self, sequence: Sequence) -> Tensor:
        """Summarise a modality in one vector [B, outputs]; a sample without frames is read as one frame of zeros."""
        _, last = read(self.lstm, sequence.values, sequence.lengths_on_cpu.clamp(min=1))
        return self.out(last.transpose(0, 1).flatten(1))


class Bound(nn.Module):
    """Lower bound of the mutual information between text and another modality (Barber-Agakov).

    Parameters
    ----------
    inputs, width : int
        Dimension of the text, and of the other modality.
    log_variance_term : bool
        Whether the likelihood has its term -logvar / 2.
    """

    def __init__(self, inputs: int, width: int, log_variance_term: bool) -> None:
        super().__init__()
        self.log_variance_term = log_variance_term
        self.mean, self.log_variance = (
            nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width)) for _ in range(2)
        )
        self.project = nn.Sequential(nn.Linear(width, width // 4), nn.Tanh()).requires_grad_(False)

    def likelihood(self, text: Tensor, other: Tensor) -> Tensor:
        """Mean log-likelihood of ``other`` [B, width] under a Gaussian that follows from ``text`` [B, inputs]."""
        log_variance = raised(self.log_variance(text))
        exponent = -((raised(self.mean(text)) - other) ** 2) / (2 * log_variance.exp())
        return (exponent - log_variance / 2 if self.log_variance_term else exponent).sum(1).mean()


class Fusion(nn.Module):
    """Three linear layers over the concatenated modalities; the second one gives the fused vector."""

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.hidden, self.feature, self.out = nn.Linear(inputs, width), nn.Linear(width, width), nn.Linear(width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the fused vector [B, width] and the score [B]."""
        fused = torch.tanh(self.feature(torch.tanh(self.hidden(self.dropout(x)))))
        return fused, self.out(fused).squeeze(1)


class MMIM(Method):
    """Han, Chen and Poria, EMNLP 2021.

    Attributes
    ----------
    stage : int
        0 in the pass that fits the bounds, 1 in the one that trains the rest.
    memory : deque
        Projected audio and vision, and the labels, of the last batches of the pass. It starts each pass empty, and so
        is no part of the weights file.
    """

    name = "mmim"
    compiled = ("represent", "predict")
    task = ("regression",)
    paper = (
        "Han, Chen, Poria: Improving Multimodal Fusion with Hierarchical Mutual Information Maximization for "
        "Multimodal Sentiment Analysis. EMNLP 2021, arXiv 2109.00412"
    )
    sums_gradients = False
    official_counts: ClassVar[dict[str, int]] = {"mosi": 281_673, "mosei": 292_425, "sims": 373_449}

    class Hyperparameters(Method.Hyperparameters):
        """Those of MMSA for MOSI."""

        epochs: int = Field(
            100, ge=0, description="most passes over the training split. MMSA has no limit and stops by patience"
        )
        batch_size: int = Field(32, ge=1, description="utterances per forward pass")
        accumulate: int = Field(1, ge=1, le=1, description="always 1: every batch is one step")
        patience: int | None = Field(
            8, ge=1, description="epochs without a better validation score after which training stops"
        )
        learning_rate_text_encoder: float = Field(5e-5, gt=0, description="learning rate of the text encoder")
        learning_rate_bounds: float = Field(
            1e-3, gt=0, description="learning rate of the Gaussians in the first pass; this rate never falls"
        )
        learning_rate: float = Field(1e-3, gt=0, description="learning rate of all other weights")
        weight_decay_text_encoder: float = Field(1e-4, ge=0, description="L2 penalty on the text encoder")
        weight_decay_bounds: float = Field(1e-4, ge=0, description="L2 penalty on the Gaussians")
        weight_decay: float = Field(1e-4, ge=0, description="L2 penalty on all other weights")
        plateau_patience: int = Field(
            20, ge=0, description="epochs without a better validation error after which the learning rates are halved"
        )
        gradient_clip: float = Field(1.0, gt=0, description="largest norm of the gradient of all parameters together")
        audio_hidden: int = Field(16, ge=1, description="width of the hidden state of the audio LSTM, per direction")
        vision_hidden: int = Field(16, ge=1, description="width of the hidden state of the vision LSTM, per direction")
        audio_width: int = Field(
            16, ge=4, description="width of the audio vector; the entropy is taken in a quarter of this width"
        )
        vision_width: int = Field(
            16, ge=4, description="width of the vision vector; the entropy is taken in a quarter of this width"
        )
        fusion_width: int = Field(128, ge=1, description="width of the fused vector")
        fusion_dropout: float = Field(0.1, ge=0, lt=1, description="dropout on the input of the fusion")
        contrast_weight: float = Field(0.1, ge=0, description="weight alpha of the contrastive loss")
        bound_weight: float = Field(0.1, ge=0, description="weight beta of likelihood and entropy")
        memory: int = Field(1, ge=1, description="earlier batches whose samples count in the entropy")
        bound_share: float = Field(
            1.0,
            ge=0,
            le=1,
            description="share of the batches that the first pass of an epoch reads. The authors read half of "
            "them on MOSEI, and MMSA does since September 2022",
            json_schema_extra={"released": "1; mosei: 0.5"},
        )
        bidirectional: bool = Field(
            True, description="true reads sequences both ways, as MMSA does. The authors read them one way"
        )
        log_variance_term: bool = Field(
            False,
            description="true adds the term -logvar / 2 to the likelihood, as in the paper",
            json_schema_extra={"released": False},
        )

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosei": {"bound_share": 0.5},
        "demo": {"epochs": 8, "batch_size": 16},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        h = hyperparameters
        widths = {"text": encoder.width, "audio": h.audio_width, "vision": h.vision_width}
        self.audio_encoder = RecurrentEncoder(spec.audio, h.audio_hidden, h.audio_width, h.bidirectional)
        self.vision_encoder = RecurrentEncoder(spec.vision, h.vision_hidden, h.vision_width, h.bidirectional)
        self.bounds = nn.ModuleDict(
            {name: Bound(encoder.width, widths[name], h.log_variance_term) for name in ("audio", "vision")}
        )
        self.fusion = Fusion(sum(widths.values()), h.fusion_width, h.fusion_dropout)
        self.contrast = nn.ModuleDict({name: nn.Linear(h.fusion_width, width) for name, width in widths.items()})
        self.plateau = Plateau(factor=0.5, patience=h.plateau_patience)
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1 and not name.startswith("encoder."):
                nn.init.xavier_normal_(parameter)
        self.stage = 1
        self.memory: deque[tuple[dict[str, Tensor], Tensor]] = deque(maxlen=h.memory + 1)

    def represent(self, batch: Batch) -> dict[str, Tensor]:
        """Return one vector [B, D] per modality; that of the text is its first token."""
        return {
            "text": self.encoder(batch.text)[:, 0],
            "audio": self.audio_encoder(batch.audio),
            "vision": self.vision_encoder(batch.vision),
        }

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the fused vector."""
        fused, output = self.fusion(torch.cat(list(self.represent(batch).values()), 1))
        return Prediction(output, fused)

    def likelihood(self, vectors: dict[str, Tensor]) -> Tensor:
        """Return the log-likelihood of audio and of vision, given the text, summed."""
        return sum(bound.likelihood(vectors["text"], vectors[name]) for name, bound in self.bounds.items())

    def project(self, vectors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return audio and vision in the dimensions in which their entropy is taken."""
        return {name: bound.project(vectors[name]) for name, bound in self.bounds.items()}

    def terms(self, vectors: dict[str, Tensor], label: Tensor) -> dict[str, Tensor]:
        """Return the loss of the second pass; the entropy is part of it once the memory is full, and a batch later."""
        h = self.hyperparameters
        fused, output = self.fusion(torch.cat(list(vectors.values()), 1))
        contrast = sum(contrastive_loss(vectors[name], head(fused)) for name, head in self.contrast.items())
        terms = {
            "sentiment": F.l1_loss(output, label),
            "contrast": h.contrast_weight * contrast,
            "likelihood": -h.bound_weight * self.likelihood(vectors),
        }
        if len(self.memory) > h.memory:
            vectors, labels = zip(*list(self.memory)[1:], (self.project(vectors), label), strict=True)
            labels = torch.cat(labels)
            entropies = [entropy(torch.cat([each[name] for each in vectors]), labels) for name in self.bounds]
            terms["entropy"] = -h.bound_weight * sum(entropies)
        return terms

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of the second pass."""
        return self.terms(self.represent(batch), batch.label)

    def passes(self, batches: int) -> list[int]:
        """A pass over a share of the batches for the Gaussians, and one over all of them for the rest."""
        return [math.ceil(self.hyperparameters.bound_share * batches), batches]

    def on_pass_start(self, number: int) -> None:
        """Forget the batches of the last pass."""
        self.stage = number
        self.memory.clear()

    def update(self, batch: Batch, optimizers: list[torch.optim.Optimizer], step: int) -> dict[str, Tensor]:
        """Learn from one batch: in the first pass the Gaussians, in the second the rest."""
        vectors = self.represent(batch)
        if self.stage == 0:
            terms = {"fit": -self.likelihood(vectors)}
        else:
            terms = self.terms(vectors, batch.label)
            self.memory.append((self.project({n: v.detach() for n, v in vectors.items()}), batch.label))
        # Gradients of what does not move in this pass count in the norm that is clipped, so none may be left over.
        self.zero_grad()
        self.descend(terms, [optimizers[self.stage]], step)
        return {name: term.detach() for name, term in terms.items()}

    def on_epoch_end(self, error: float) -> None:
        """Halve the learning rates if the validation error has not improved for long."""
        self.plateau.step(error)

    def learning_rate_factor(self, epoch: int) -> float:
        """Halved on every plateau of the validation error; the Gaussians keep their rate."""
        return self.plateau.multiplier

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """One Adam for the Gaussians, one for text encoder and rest; weight decay is an L2 penalty."""
        h = self.hyperparameters
        text_encoder = [p for p in self.encoder.parameters() if p.requires_grad]
        bounds = [p for p in self.bounds.parameters() if p.requires_grad]
        rest = [p for name, p in self.named_parameters() if not name.startswith(("encoder.", "bounds."))]
        main = [{"name": "rest", "params": rest, "lr": h.learning_rate, "weight_decay": h.weight_decay}]
        if text_encoder:
            rate, decay = h.learning_rate_text_encoder, h.weight_decay_text_encoder
            main.append({"name": "text encoder", "params": text_encoder, "lr": rate, "weight_decay": decay})
        rate, decay = h.learning_rate_bounds, h.weight_decay_bounds
        first = {"name": "bounds", "params": bounds, "lr": rate, "weight_decay": decay, "constant": True}
        return [torch.optim.Adam([first]), torch.optim.Adam(main)]


@float32
def contrastive_loss(x: Tensor, predicted: Tensor) -> Tensor:
    """Cross-entropy of finding each vector's own prediction among those of the batch, by their cosine.

    Parameters
    ----------
    x, predicted : Tensor [B, D]

    Returns
    -------
    Tensor []
    """
    similarity = F.normalize(x, dim=1) @ F.normalize(predicted, dim=1).T
    return F.cross_entropy(similarity, torch.arange(len(x), device=x.device))


def entropy(x: Tensor, label: Tensor) -> Tensor:
    """Entropy, up to a constant, of a Gaussian for positive and one for negative samples (mean of the two).

    Half the mean log-determinant of their covariances; samples of label 0 belong to neither. A covariance gets 1e-6 on
    its diagonal: directions in which the samples do not differ count log(1e-6), and have no gradient.

    Parameters
    ----------
    x : Tensor [B, D]
    label : Tensor [B]

    Returns
    -------
    Tensor []
    """
    # Rounding in float32 is as large as what is added; and not every device has float64.
    device = "cpu" if x.device.type == "mps" else x.device
    exact = x.to(device, torch.float64)
    members = torch.stack([label > 0, label < 0]).to(device, torch.float64)
    count = members.sum(1).clamp(min=1)[:, None, None]
    offsets = (exact - members[:, None] @ exact / count) * members[..., None]
    jitter = _JITTER * torch.eye(x.shape[1], dtype=exact.dtype, device=device)
    return (torch.logdet(offsets.mT @ offsets / count + jitter).sum() / 4).to(x)
