"""QDRF: a proxy of quantised codes, taught by a slow copy of the method that sees complete input.

The tokens of each modality become codes: every number is -1, 0 or 1. The proxy is the mean of the codes of the
modalities, with weights that a small network learns, and asks the modalities as in P-RMF (``p_rmf``). A decoder
rebuilds the complete modality from the codes. A teacher reads the complete input. Its weights are the moving average
of those of the method. The proxy and the weights of the modalities come near those of the teacher.

The file follows the released code. These are the differences:

- The code encodes the complete text three times per step: for the autoencoders, for the reconstructors and by the
  teacher. Here the first two share one encoding, of which the autoencoders get no gradients. Only dropout of the text
  encoder differs.
- The code computes a loss that aligns the scores of the modalities with what is present, and never adds it. Its target
  is the share of what is absent, because a mask of the code is 1 where a frame is there. Here the target is the share
  of valid positions that are observed, and the loss has the weight 0 (``align_weight``).
- The proxy of codes is drawn to the teacher's proxy of continuous numbers, which no tanh has bounded, as in the code.
  This loss is never 0. ``teacher_proxy: quantised`` compares codes with codes.
- The teacher computes only in epochs in which its losses have a weight. The code also computes a prediction of the
  teacher, which nothing reads. The teacher has a copy of all weights but those of the reconstructors, as in the code.
- The teacher has the dropout of the text encoder, as in the code. A frozen text encoder has neither dropout nor a copy.
- The paper has the seeds 1111, 1112 and 1115. Its rivals have 1111 to 1113. Here all methods have the same seeds.

Where the numbers before the quantisation are near 0, all codes are 0, and neither proxy nor weights tell anything.
``history.csv`` tells the share of the codes that are 0 in training (``zeros``).

The weights of the teacher are stored with those of the method, so that an interrupted training goes on as it was.
Predictions do not need them.

Classification is ours: the same network with cross-entropy in place of the squared error.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn

from elision.batch import Batch
from elision.methods.base import Prediction
from elision.methods.layers.distillation import divergence
from elision.methods.layers.precision import float32
from elision.methods.layers.proxy import ProxyMethod, code
from elision.methods.layers.stack import stack
from elision.task import MODALITIES, DataSpec

_INSIDE = 0.999  # of the largest level, which the bounded numbers do not reach


@dataclass
class Proxy:
    """What the modalities make together.

    Attributes
    ----------
    codes : Tensor [3, B, tokens, width]
        Quantised numbers of each modality.
    continuous : Tensor [3, B, tokens, width]
        The same before bound and quantisation.
    scores : Tensor [B, 3]
        Their softmax are the weights of the modalities.
    """

    codes: Tensor
    continuous: Tensor
    scores: Tensor

    @property
    def weights(self) -> Tensor:
        """Weights of the modalities [3, B, 1, 1]."""
        return self.scores.softmax(1).T[..., None, None]

    def mean(self, kind: str) -> Tensor:
        """Return the weighted mean [B, tokens, width] of the ``quantised`` or the ``continuous`` numbers."""
        return (self.weights * (self.codes if kind == "quantised" else self.continuous)).sum(0)


class MovingAverage(nn.Module):
    """Exponential moving average of weights, in buffers: stored with a method, and no parameters of it.

    Parameters
    ----------
    weights : dict of str to Tensor
        With which the average begins.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        for name, weight in weights.items():
            self.register_buffer(name.replace(".", "/"), weight.detach().clone())

    def weights(self) -> dict[str, Tensor]:
        """Return the average of each weight, by its name."""
        return {name.replace("/", "."): value for name, value in self.named_buffers()}

    def follow(self, weights: dict[str, Tensor], decay: float) -> None:
        """Go a step of 1 - ``decay`` towards new weights."""
        averages = self.weights()
        get_ema_multi_avg_fn(decay)([averages[name] for name in weights], list(weights.values()), None)


class QDRF(ProxyMethod):
    """Hou, Cheng, Xing et al., Information Sciences 2027."""

    name = "qdrf"
    needs_complete = True
    paper = (
        "Hou, Cheng, Xing, Li, Xiang, Cai, Liu, Pan: QDRF: Quantized and distilled robust fusion for incomplete data "
        "in multimodal sentiment analysis. Information Sciences 2027"
    )
    official_counts: ClassVar[dict[str, int]] = {"mosi": 8_236_420, "mosei": 8_263_172, "sims": 8_296_836}
    counts = ("zeros",)
    compared = "equal, and so are the teacher's 6,455,428, 6,482,180 and 6,515,844, which are no parameters here"
    small: ClassVar[dict] = {**ProxyMethod.small, "distillation_wait": 0}

    class Hyperparameters(ProxyMethod.Hyperparameters):
        """Those of the released configuration for MOSI."""

        epochs: int = Field(50, ge=0, description="passes over the training split")
        gradient_clip: float | None = Field(
            1.0, gt=0, description="largest norm of the gradient of all weights (null: no limit)"
        )
        cross_modal_layers: int = Field(3, ge=1, description="layers of the cross-modal encoder")
        levels: int = Field(3, ge=3, description="values that a number of a code can have; odd, so that 0 is one")
        autoencoder_weight: float = Field(0.5, ge=0, description="weight of the autoencoders; 0 drops the loss")
        ema_decay: float = Field(0.999, ge=0, lt=1, description="share of the teacher that a step leaves as it is")
        distillation_weight: float = Field(
            0.9, ge=0, description="largest weight of the losses that compare with the teacher; 0 drops these losses"
        )
        distillation_wait: int = Field(5, ge=0, description="epochs without these losses")
        distillation_rise: int = Field(5, ge=1, description="epochs in which their weight then rises to the largest")
        teacher_proxy: Literal["continuous", "quantised"] = Field(
            "continuous",
            description="proxy of the teacher that the proxy of the method is drawn to. continuous: of numbers before "
            "the quantisation. quantised: of codes",
            json_schema_extra={"released": "continuous"},
        )
        align_weight: float = Field(
            0.0,
            ge=0,
            description="weight of a loss that draws the sigmoid of the score of a modality to the observed share of "
            "its positions; 0 drops the loss",
            json_schema_extra={"released": "0, of the share that is not observed"},
        )

        @field_validator("levels")
        @classmethod
        def _odd(cls, levels: int) -> int:
            if levels % 2 == 0:
                raise ValueError("levels must be odd, so that 0 is a level")
            return levels

    corpus_defaults: ClassVar[dict[str, dict]] = {
        **ProxyMethod.corpus_defaults,
        "mosei": {"epochs": 100},
        "sims": {**ProxyMethod.corpus_defaults["sims"], "distillation_weight": 0.3},
        "demo": {**ProxyMethod.corpus_defaults["demo"], "distillation_wait": 2, "distillation_rise": 2},
    }

    def __init__(self, hyperparameters: Hyperparameters, spec: DataSpec, encoder: nn.Module) -> None:
        h = hyperparameters
        super().__init__(h, spec, encoder, outputs=1, layers=h.cross_modal_layers)
        self.scorer = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(h.width, h.width // 2), nn.LeakyReLU(0.1), nn.Linear(h.width // 2, 1))
                for name in MODALITIES
            }
        )
        self.teacher = MovingAverage(self.taught())
        self._alpha = 0.0

    def taught(self) -> dict[str, Tensor]:
        """Return the weights of which the teacher has a copy: all that are trained but the reconstructors."""
        named = self.named_parameters()
        return {name: p for name, p in named if p.requires_grad and not name.startswith("reconstructor.")}

    def on_epoch_start(self, epoch: int) -> None:
        """Set the weight of what compares with the teacher."""
        h = self.hyperparameters
        self._alpha = h.distillation_weight * min(1, max(0, epoch - h.distillation_wait) / h.distillation_rise)

    def propose(self, embedded: tuple[Tensor, ...]) -> Proxy:
        """Turn the tokens of the modalities into codes and weights."""
        continuous = code(list(self.coder.values()), embedded)
        codes = quantise(continuous, self.hyperparameters.levels)
        scores = [scorer(each.mean(1)) for scorer, each in zip(self.scorer.values(), codes.unbind(), strict=True)]
        return Proxy(codes, continuous, torch.cat(scores, 1))

    def predict(self, batch: Batch) -> Prediction:
        """Predict from the corrupted input alone."""
        (embedded,) = self.embed(self.read(batch))
        proxy = self.propose(embedded)
        return self.predicted(self.fuse(proxy.mean("quantised"), embedded, proxy.weights))

    def forward(self, batch: Batch, inputs: list[Tensor] | None = None) -> Proxy:
        """Return the proxy of a batch, or of what was read of it; `teach` calls it with other weights."""
        (embedded,) = self.embed(self.read(batch) if inputs is None else inputs)
        return self.propose(embedded)

    @torch.no_grad()
    def teach(self, complete: Batch, inputs: list[Tensor] | None) -> Proxy:
        """Return the proxy that the teacher makes of complete data."""
        # Without a text encoder of its own, the teacher encodes the text as the method has done.
        known = None if self.hyperparameters.finetune_text_encoder else inputs
        return functional_call(self, self.teacher.weights(), (complete, known))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the sentiment loss, and the other losses as far as they have a weight."""
        h, complete = self.hyperparameters, batch if batch.clean is None else batch.clean
        rebuilt = h.reconstruction_weight > 0 or h.autoencoder_weight > 0
        inputs, wanted = self.read(batch), self.read(complete) if rebuilt else None
        # The weights that are gathered are those of the method, and not those of the teacher.
        lesson = self.teach(complete, wanted) if self._alpha > 0 else None
        with self.gathering():
            return self.terms(batch, [each for each in (inputs, wanted) if each is not None], lesson)

    def terms(self, batch: Batch, inputs: list[list[Tensor]], lesson: Proxy | None) -> dict[str, Tensor]:
        """Return the terms of the loss; ``inputs`` are the corrupted ones, and complete ones if needed."""
        h = self.hyperparameters
        embedded, *complete = self.embed(*inputs)
        proxy = self.propose(embedded)
        mean = proxy.mean("quantised")
        terms = {"sentiment": self.answer(self.fuse(mean, embedded, proxy.weights), batch)}
        terms["zeros"] = (proxy.codes == 0).float().mean()
        if h.reconstruction_weight > 0:
            error = F.mse_loss(self.reconstruct(embedded), stack(list(complete[0])))
            terms["reconstruction"] = h.reconstruction_weight * error
        if h.autoencoder_weight > 0:
            error = F.mse_loss(self.rebuild(proxy.codes), stack(list(complete[0])).detach())
            terms["autoencoder"] = h.autoencoder_weight * error
        if lesson is not None:
            terms["proxy"] = self._alpha * F.mse_loss(mean, lesson.mean(h.teacher_proxy))
            terms["weights"] = self._alpha * divergence(proxy.scores, lesson.scores)
        if h.align_weight > 0:
            terms["alignment"] = h.align_weight * F.mse_loss(proxy.scores.sigmoid(), observed_shares(batch))
        return terms

    def update(self, batch: Batch, optimizers: list[torch.optim.Optimizer], step: int) -> dict[str, Tensor]:
        """Learn from one batch; after a step of the optimizer, the teacher follows."""
        terms, h = super().update(batch, optimizers, step), self.hyperparameters
        if (step + 1) % h.accumulate == 0:
            self.teacher.follow(self.taught(), h.ema_decay)
        return terms


@float32
def quantise(x: Tensor, levels: int) -> Tensor:
    """Round numbers, bounded by tanh, to an odd number of levels from -1 to 1; gradients pass as if nothing rounded.

    Finite scalar quantisation (Mentzer et al., ICLR 2024).

    Examples
    --------
    >>> quantise(torch.tensor([-9.0, 0.1, 0.7]), 3)
    tensor([-1.,  0.,  1.])
    """
    half = (levels - 1) / 2
    bounded = half * _INSIDE * x.tanh()
    return (bounded.detach().round() + (bounded - bounded.detach())) / half


def observed_shares(batch: Batch) -> Tensor:
    """Return the share of the valid positions of text, audio and vision that are observed [B, 3]; 0 without any."""
    sequences = [getattr(batch, name) for name in MODALITIES]
    return torch.stack([each.observed.sum(1) / each.valid.sum(1).clamp(min=1) for each in sequences], 1)
