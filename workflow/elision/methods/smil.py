"""SMIL: Bayesian meta-learning with severely missing modalities.

A small network completes samples: it fills in the vector of a missing modality as a mix of centres, and changes the
features of such samples by random factors. The main network takes a step on incomplete samples. What it then makes of
the incomplete samples should predict as well, and be near what it makes of complete ones. The gradient of this loss
flows back through the step, and trains both networks.

The released code has images of digits and their sounds alone, where the sound is missing. The file follows the code:
the losses, one step, the rates, ten centres by K-means of a trained network (``smil_teacher``), from which the main
network starts. These are the differences:

- Three modalities: each has centres and weights of its own. The weights follow from the mean vector of the modalities
  that a sample has. A modality is missing where no frame of it is observed. Lost frames of others are zeros.
- The code draws samples of two sets, incomplete and complete ones. Here the complete ones are the samples of the batch
  before the corruption, so that the set of complete samples is the training split.
- The code multiplies features by softplus(N(mu, 1)) in one class, as the paper, and adds it in the class for sounds
  (``regularisation``). The variance is 1 in the code; the paper learns the variance.
- The step changes all encoders. The code leaves out that of the sound, the only modality that is missing.
- The gradient of the step has a largest norm (``inner_gradient_clip``), which ordinary batches do not reach.
- The rate of the step stays (``inner_rate_falls``). In the code it falls to a tenth eight times.
- The code evaluates without noise, and repeats that 30 times. Here one evaluation without noise is made.
- The code stops at the best accuracy on the test split. Here the validation split chooses. Epochs are those of HRLF.

HRLF names no detail of its rows of SMIL.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from elision.batch import Batch
from elision.errors import ElisionError, plural
from elision.methods.base import Method, Prediction
from elision.methods.layers.precision import float32
from elision.methods.smil_teacher import Features, Network, SMILHyperparameters, SMILMethod
from elision.task import MODALITIES, DataSpec

if TYPE_CHECKING:
    from elision.methods.layers.retrieval import Database

_STARTS = 10  # of K-means, as in the released code
_EPSILON = 1e-6
_FALLS = 8  # how often the rate of the step falls


class Completion(nn.Module):
    """What the meta-learning trains beside the network: weights of centres, and random changes of features.

    Parameters
    ----------
    h : SMIL.Hyperparameters
    """

    def __init__(self, h: "SMIL.Hyperparameters") -> None:
        super().__init__()
        self.reconstruction, self.regularisation = h.reconstruction, h.regularisation
        self.register_buffer("centres", torch.zeros(len(MODALITIES), h.clusters, h.width))
        names = MODALITIES if h.reconstruction else ()
        self.weights = nn.ModuleDict({name: nn.Linear(h.width, h.clusters) for name in names})
        changes = h.regularisation != "none"
        self.of_joined = nn.Linear(h.width, 3 * h.width) if changes else nn.Identity()
        self.of_hidden = nn.Linear(3 * h.width, h.hidden) if changes else nn.Identity()

    def given(self, batch: Batch) -> Tensor:
        """Return which of text, audio and vision each sample has [B, 3]: at least one of its frames."""
        return torch.stack([getattr(batch, name).observed.any(1) for name in MODALITIES], 1)

    def condition(self, vectors: Tensor, given: Tensor) -> Tensor:
        """Return the mean vector [B, d] of the modalities that a sample has; zeros without any."""
        return (vectors * given[..., None]).sum(1) / given.sum(1, keepdim=True).clamp(min=1)

    def fill(self, vectors: Tensor, given: Tensor, condition: Tensor) -> Tensor:
        """Put mixes of centres in the place of the vectors [B, 3, d] of missing modalities."""
        if self.reconstruction:
            shares = torch.stack([F.softplus(layer(condition)) for layer in self.weights.values()], 1)
            shares = shares / shares.sum(2, keepdim=True).clamp(min=_EPSILON)
            made = torch.einsum("bmk,mkd->bmd", shares, self.centres)
        else:
            made = self.centres.mean(1).expand_as(vectors)
        return torch.where(given[..., None], vectors, made)

    def change(self, x: Tensor, mean: Tensor, given: Tensor, *, noisy: bool) -> Tensor:
        """Change the features [B, D] of samples that miss a modality: by random numbers, or by their mean alone."""
        if self.regularisation == "none":
            return x
        noise = F.softplus(mean + torch.randn_like(mean) if noisy else mean)
        changed = x * noise if self.regularisation == "multiplied" else x + noise
        return torch.where(given.all(1, keepdim=True), x, changed)


class SMIL(SMILMethod):
    """Ma, Ren, Zhao, Tulyakov, Wu and Peng, AAAI 2021.

    Where the parts of the paper are:

    - The main network: ``network`` (`smil_teacher.Network`). Modality reconstruction: ``completion.weights`` and
      `Completion.fill`; feature regularisation: ``completion.of_joined``, ``completion.of_hidden`` and
      `Completion.change`. Centres of the complete samples: ``completion.centres``.
    - Meta-training on incomplete samples: the term ``meta_train``, and the step in `stepped`.
    - Meta-validation with the weights after the step: the term ``meta_validation``; alignment of the features with
      those of complete samples: the terms ``joined`` and ``hidden``.
    - Without one of them: ``reconstruction: false``, ``regularisation: none`` and ``meta: none``.
    """

    name = "smil"
    corruption = "combined"
    needs: ClassVar[tuple[str, ...]] = ("smil_teacher",)
    retrieves = "smil_teacher"
    needs_complete = True
    reads_text = "vectors"
    official_counts: ClassVar[dict[str, int]] = {"iemocap": 216_058}
    compared = "the released code is for images and sounds"
    compiled = ("validate", "predict")  # PyTorch compiles no second derivative, which the meta-training has
    small: ClassVar[dict] = {**SMILMethod.small, "clusters": 4}

    class Hyperparameters(SMILHyperparameters):
        """Those of the released code for images and sounds."""

        epochs: int = Field(30, ge=0, description="passes over the training split; ours, as in HRLF")
        constant_share: float = Field(
            0.625, gt=0, le=1, description="share of the epochs after which the learning rate falls to a tenth"
        )
        clusters: int = Field(10, ge=1, description="centres of each modality")
        meta: Literal["second_order", "first_order", "none"] = Field(
            "second_order",
            description="step before the meta-validation. second_order: the gradient flows back through the step. "
            "first_order: the step counts as constant. none: no step",
            json_schema_extra={"released": "second_order"},
        )
        inner_learning_rate: float = Field(1e-3, gt=0, description="learning rate of the step")
        inner_gradient_clip: float | None = Field(
            10.0,
            gt=0,
            description="largest norm of the gradient of the step (null: no limit). Without a limit, one outlier makes "
            "the weights infinite",
            json_schema_extra={"released": "no limit"},
        )
        inner_rate_falls: bool = Field(
            False,
            description="true divides the rate of the step by ten after every eighth of the epochs",
            json_schema_extra={"released": True},
        )
        reconstruction: bool = Field(
            True, description="false fills in the mean of the centres in place of a mix that follows from the sample"
        )
        regularisation: Literal["multiplied", "added", "none"] = Field(
            "multiplied",
            description="random numbers and features of incomplete samples. multiplied: as in the paper. added: as in "
            "the released class for sounds. none: no random numbers",
            json_schema_extra={"released": "added"},
        )
        joined_weight: float = Field(0.01, gt=0, description="weight of the distance of the joined vectors")
        hidden_weight: float = Field(0.01, gt=0, description="weight of the distance of the hidden layers")

    corpus_defaults: ClassVar[dict[str, dict]] = {
        "mosi": {"epochs": 50},
        "mosei": {"epochs": 20},
        "demo": {"epochs": 10, "batch_size": 8, "dropout": 0.1},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        super().__init__(hyperparameters, spec, encoder)
        self.network, self.completion = Network(hyperparameters, spec), Completion(hyperparameters)
        self._inner_rate = hyperparameters.inner_learning_rate

    def start(self, teachers: dict[str, Method], database: "Database | None") -> None:
        """Take the weights of the teacher, and the centres of its vectors of the training samples.

        Raises
        ------
        ElisionError
            If the teacher has other sizes, or a modality has fewer samples than centres.
        """
        for teacher in teachers.values():
            try:
                self.network.load_state_dict(teacher.network.state_dict())
            except RuntimeError as error:
                raise ElisionError(
                    "smil: its teacher has other sizes; set the same width, kernel, hidden and modalities under "
                    f"teachers.{teacher.name}"
                ) from error
        if teachers and database is not None:
            vectors = database.subset("labelled").vectors
            for centres, name in zip(self.completion.centres, MODALITIES, strict=True):
                centres.copy_(centres_of(vectors[name], len(centres), name))

    def on_epoch_start(self, epoch: int) -> None:
        """Set the rate of the step."""
        h = self.hyperparameters
        self._inner_rate = h.inner_learning_rate
        if h.inner_rate_falls:
            self._inner_rate *= 0.1 ** (_FALLS * (epoch - 1) // h.epochs)

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the hidden layer of the completed samples."""
        found = self.network(batch, self.completion)
        return Prediction(self.readout(found.output), found.hidden)

    def stepped(self, learnt: Tensor) -> dict[str, Tensor]:
        """Return the weights of the main network after a step down the gradient of a loss."""
        h, own = self.hyperparameters, dict(self.network.named_parameters())
        if h.meta == "none":
            return own
        wanted = h.meta == "second_order"
        gradients = torch.autograd.grad(learnt, list(own.values()), create_graph=wanted, retain_graph=True)
        rate: Tensor | float = self._inner_rate
        if h.inner_gradient_clip is not None:
            norm = sum((g.square().sum() for g in gradients), _EPSILON).sqrt()
            rate = rate * (h.inner_gradient_clip / norm).clamp(max=1)
        return {name: p - rate * g for (name, p), g in zip(own.items(), gradients, strict=True)}

    def validate(self, batch: Batch, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the losses of the meta-validation with some weights of the main network."""
        h = self.hyperparameters
        made: Features = functional_call(self.network, weights, (batch, self.completion))
        whole: Features = functional_call(self.network, weights, (batch.clean,))
        return {
            "meta_validation": self.error(self.readout(made.output), batch.label),
            "joined": h.joined_weight * distance(made.joined, whole.joined),
            "hidden": h.hidden_weight * distance(made.hidden, whole.hidden),
        }

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of meta-training and meta-validation."""
        found: Features = self.network(batch, self.completion, noisy=self.training)
        learnt = self.error(self.readout(found.output), batch.label)
        return {"meta_train": learnt, **self.validate(batch, self.stepped(learnt))}


@float32
def distance(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean squared difference of features."""
    return F.mse_loss(x, y)


def centres_of(vectors: Tensor, count: int, modality: str) -> Tensor:
    """Return the centres [count, d] of the vectors [N, d] of a modality that are not zeros, by K-means.

    The seed is 0, as in the released code, and one thread computes, so that the same vectors have the same centres. A
    modality that no sample has gets zeros.

    Raises
    ------
    ElisionError
        If there are fewer vectors than centres.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    known = vectors[vectors.any(1)].double().numpy()
    if not len(known):
        return vectors.new_zeros(count, vectors.shape[1])
    if len(known) < count:
        raise ElisionError(
            f"smil: clusters is {count}, but {modality} has only {plural(len(known), 'training sample')}; set "
            f"clusters: {len(known)}"
        )
    with threadpool_limits(1):
        found = KMeans(count, n_init=_STARTS, random_state=0).fit(known).cluster_centers_
    return torch.from_numpy(found).to(vectors)
