"""How far the answer of a student is from that of its teacher."""

from torch import Tensor
from torch.nn import functional as F

from elision.methods.layers.precision import float32


@float32
def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Return KL(teacher || student) of logits [B, C], averaged over samples."""
    return F.kl_div(student.log_softmax(1), teacher.log_softmax(1), reduction="batchmean", log_target=True)
