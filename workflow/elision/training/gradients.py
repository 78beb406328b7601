"""The learning index: how strongly the encoder of each modality learns.

A modality whose encoder hardly gets a gradient is hardly learned, whatever the score (Peng et al., CVPR 2022, section
3.1, on imbalance between modalities; MissBench, arXiv 2603.09874, on the index). The norms are summed on the device and
read once per epoch, so that no step waits.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from elision.methods.base import Method
from elision.task import GRADIENTS


class GradientNorms:
    """The norm of the gradient of each modality's encoder, as optimizers get it: clipped, and of all batches of a step.

    Parameters
    ----------
    model : Method
    optimizers : list of torch.optim.Optimizer
        Of the method; each of their steps is watched.

    Attributes
    ----------
    encoders : dict of str to list of nn.Parameter
        What is trained of the encoder of each modality: see ``Method.modality_of``. A modality without is left out.
    """

    def __init__(self, model: Method, optimizers: list[torch.optim.Optimizer]) -> None:
        self.encoders: dict[str, list[nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and (modality := model.modality_of(name)):
                self.encoders.setdefault(modality, []).append(parameter)
        self._squares: dict[str, Tensor] = {}
        self._steps: dict[str, int] = {}
        for optimizer in optimizers if self.encoders else []:
            optimizer.register_step_pre_hook(self._watch)

    def _watch(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        steps = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        for name, parameters in self.encoders.items():
            found = [each.grad for each in parameters if id(each) in steps and each.grad is not None]
            if found:
                square = nn.utils.get_total_norm(found).square()
                self._squares[name] = self._squares.get(name, 0) + square
                self._steps[name] = self._steps.get(name, 0) + 1

    def read(self) -> dict[str, float]:
        """Return the root mean square of the norms over the steps since the last call, by column; nan without a step.

        Modalities stand in their order. It waits for the device.
        """
        norms = {
            column: float((self._squares[name] / self._steps[name]).sqrt()) if name in self._steps else math.nan
            for name, column in GRADIENTS.items()
            if name in self.encoders
        }
        self._squares, self._steps = {}, {}
        return norms
