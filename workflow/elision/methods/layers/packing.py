"""Packed sequences for recurrent layers, made without waiting for the device."""

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


def pack(values: Tensor, lengths: Tensor) -> PackedSequence:
    """Return what ``pack_padded_sequence`` returns; the order of the samples goes to the device without a wait.

    Parameters
    ----------
    values : Tensor [B, T, d]
    lengths : Tensor [B] int64
        At least 1; on the CPU.
    """
    lengths, order = lengths.sort(descending=True)
    order, back = (index.to(values.device, non_blocking=True) for index in (order, order.argsort()))
    packed = pack_padded_sequence(values.index_select(0, order), lengths, batch_first=True)
    return PackedSequence(packed.data, packed.batch_sizes, order, back)


def unpack(packed: PackedSequence, length: int) -> Tensor:
    """Return the padded sequences [B, length, d] of a packed one, zeros beyond their ends."""
    plain = PackedSequence(packed.data, packed.batch_sizes)
    padded, _ = pad_packed_sequence(plain, batch_first=True, total_length=length)
    return padded.index_select(0, packed.unsorted_indices)
