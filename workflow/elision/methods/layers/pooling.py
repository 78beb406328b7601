"""One vector per modality: the mean of what is observed."""

from torch import Tensor

from elision.batch import Sequence


def mean_observed(sequence: Sequence) -> tuple[Tensor, Tensor]:
    """Average the observed positions of a modality.

    Parameters
    ----------
    sequence : Sequence
        Of vectors [B, T, d].

    Returns
    -------
    mean : Tensor [B, d]
        Zeros for a sample of which nothing is observed.
    present : Tensor [B, 1] bool
        Whether anything is.
    """
    observed = sequence.observed.unsqueeze(2)
    return (sequence.values * observed).sum(1) / observed.sum(1).clamp(min=1), observed.any(1)
