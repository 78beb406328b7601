"""The learning-rate schedule of LNLN and ALMT."""

import math


def warm_up_and_cosine(epoch: int, *, epochs: int) -> float:
    """Warm up over a tenth of the epochs, then follow half a cosine.

    With W = epochs / 10, epoch e trains at (e - 1) / W while e - 1 <= W: the first at 0, so that it changes no
    weight. The first epoch after, e0 = floor(W) + 2, trains at 1, and the following at
    (1 + cos(pi (e - e0) / (9 W))) / 2. That is what the released scheduler does when it is stepped once per epoch.

    Parameters
    ----------
    epoch : int
        Counted from 1.
    epochs : int
        Length of the whole training.

    Returns
    -------
    float
        Multiplier of the learning rates during the epoch, from 0 to 1.
    """
    warm_up = epochs / 10
    if epoch - 1 <= warm_up:
        return (epoch - 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (epoch - math.floor(warm_up) - 2) / (9 * warm_up)))
