"""Encoders that turn a sequence of feature vectors into one vector, and the classifier, of the MMIN family."""

from collections.abc import Sequence as Several
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Sequence
from elision.methods.layers.batch_norm import BatchNorm


def mean_over_time(sequence: Sequence) -> Tensor:
    """Average the valid frames, lost ones included [B, d]; without any, zeros."""
    valid = sequence.valid.unsqueeze(2)
    return (sequence.values * valid).sum(1) / valid.sum(1).clamp(min=1)


class LSTMEncoder(nn.Module):
    """A one-layer LSTM and the maximum of its hidden states over time (MMIN, section 3.1).

    A sequence without a valid position is read as one frame of zeros.

    Parameters
    ----------
    width_in, width : int
        Of the frames, and of the hidden states.
    mask_padding : bool
        False, as in the official code: positions beyond the sequence take part, as frames of zeros.
    pool : str
        ``maximum``, or ``last``: the last hidden state.
    """

    def __init__(
        self,
        width_in: int,
        width: int = 128,
        mask_padding: bool = True,
        pool: Literal["maximum", "last"] = "maximum",
    ) -> None:
        super().__init__()
        self.mask_padding, self.pool = mask_padding, pool
        self.lstm = nn.LSTM(width_in, width, batch_first=True)

    def forward(self, sequence: Sequence) -> Tensor:
        """Encode [B, T, width_in] into [B, width]."""
        hidden, _ = self.lstm(sequence.values)
        length = sequence.lengths.clamp(min=1)
        if not self.mask_padding:
            length = torch.full_like(length, hidden.shape[1])
        if self.pool == "last":
            return hidden[torch.arange(len(hidden), device=hidden.device), length - 1]
        beyond = torch.arange(hidden.shape[1], device=hidden.device) >= length[:, None]
        return hidden.masked_fill(beyond[..., None], -torch.inf).amax(1)


class TextCNN(nn.Module):
    """Convolutions over 3, 4 and 5 positions and their maximum over time (MMIN, section 3.1).

    Zeros are appended to a sequence that is shorter than a convolution, and a sequence without a valid position is
    read as zeros; the official code fails below five positions.

    Parameters
    ----------
    width_in, width : int
        Of the positions; of each convolution and of the output.
    dropout : float
        On the maxima.
    mask_padding : bool
        False, as in the official code: positions beyond the sequence take part, as zeros.
    """

    SIZES = (3, 4, 5)

    def __init__(self, width_in: int, width: int = 128, dropout: float = 0.5, mask_padding: bool = True) -> None:
        super().__init__()
        self.mask_padding = mask_padding
        self.convolutions = nn.ModuleList(nn.Conv1d(width_in, width, size) for size in self.SIZES)
        self.out = nn.Sequential(nn.Dropout(dropout), nn.Linear(len(self.SIZES) * width, width), nn.ReLU())

    def forward(self, sequence: Sequence) -> Tensor:
        """Encode [B, T, width_in] into [B, width]."""
        lack = max(self.SIZES) - sequence.values.shape[1]
        values = F.pad(sequence.values, (0, 0, 0, max(lack, 0))).transpose(1, 2)
        maxima = []
        for size, convolution in zip(self.SIZES, self.convolutions, strict=True):
            windows = convolution(values).relu()
            if self.mask_padding:
                last = (sequence.lengths - size).clamp(min=0)
                beyond = torch.arange(windows.shape[2], device=windows.device) > last[:, None]
                windows = windows.masked_fill(beyond[:, None], 0.0)
            maxima.append(windows.amax(2))
        return self.out(torch.cat(maxima, 1))


class Classifier(nn.Sequential):
    """Hidden layers (linear, ReLU, batch normalisation if asked for, dropout), then a linear layer.

    Parameters
    ----------
    width_in : int
    hidden : sequence of int
        Widths of the hidden layers.
    outputs : int
    dropout : float
        After each hidden layer.
    batch_norm : bool
    """

    def __init__(
        self,
        width_in: int,
        hidden: Several[int] = (128, 128),
        outputs: int = 4,
        dropout: float = 0.5,
        batch_norm: bool = False,
    ) -> None:
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(width_in, width), nn.ReLU()]
            layers += [BatchNorm(width)] if batch_norm else []
            layers.append(nn.Dropout(dropout))
            width_in = width
        super().__init__(*layers, nn.Linear(width_in, outputs))
