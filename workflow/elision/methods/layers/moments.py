"""How far apart two distributions are, by their moments."""

import torch
from torch import Tensor

from elision.methods.layers.precision import float32

_SQUARE_OVERFLOWS = 1e18


@float32
def central_moment_discrepancy(p: Tensor, q: Tensor, moments: int = 5) -> Tensor:
    """Distance of the means plus distances of the second to fifth central moments (Zellinger et al., ICLR 2017).

    The samples of a batch estimate the moments. As in the codes of MISA and IF-MMIN, no term is scaled by the range
    of the values. Where two moments are equal, the gradient is 0.

    Parameters
    ----------
    p, q : Tensor [B, width]
    moments : int
        Highest moment.

    Returns
    -------
    Tensor []
    """
    mean_p, mean_q = p.mean(0), q.mean(0)
    differences = [mean_p - mean_q]
    differences += [((p - mean_p) ** k).mean(0) - ((q - mean_q) ** k).mean(0) for k in range(2, moments + 1)]
    stacked = torch.stack(differences)
    # Fifth powers of large features are float32 numbers, but their squares are not. Otherwise the scale is 1.
    largest = stacked.detach().abs().amax(1, keepdim=True)
    scale = torch.where(largest > _SQUARE_OVERFLOWS, largest, 1.0)
    # Unlike the root of a sum of squares, a norm has a gradient of 0 at 0.
    return (torch.linalg.vector_norm(stacked / scale, dim=1) * scale[:, 0]).sum()
