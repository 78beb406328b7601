"""Padded sequences for recurrent layers, which must not read padding, without waiting for the device."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

_WIDE = 256  # hidden states of one direction


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


def read(lstm: nn.LSTM, values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Read the valid positions of padded sequences.

    On a CPU, PyTorch trains on packed sequences of different lengths ten times as slowly as on padded ones, for which
    it has a kernel. There each direction reads to the end of the padding, backwards from the end of each sequence on,
    and what it has made of the padding is not used. A wide layer that predicts reads no padding: its products take
    longer than what PyTorch does beside them.

    Parameters
    ----------
    lstm : nn.LSTM
        With ``batch_first``.
    values : Tensor [B, T, d]
    lengths : Tensor [B] int64
        At least 1; on the CPU.

    Returns
    -------
    outputs : Tensor [B, T, directions * hidden]
        Without meaning beyond the ends of the sequences.
    last : Tensor [layers * directions, B, hidden]
        Hidden states after the last position that a direction of a layer reads.
    """
    if values.device.type != "cpu" or (lstm.hidden_size >= _WIDE and not torch.is_grad_enabled()):
        packed, (last, _) = lstm(pack(values, lengths))
        return unpack(packed, values.shape[1]), last
    end, last = lengths[:, None] - 1, []
    position = torch.arange(values.shape[1])
    mirrored = torch.where(position <= end, end - position, position)[..., None]
    for layer in range(lstm.num_layers):
        if layer and lstm.dropout:
            values = F.dropout(values, lstm.dropout, lstm.training)
        outputs = [_one_way(lstm, values, f"l{layer}")]
        last.append(outputs[0].gather(1, end[..., None].expand(-1, -1, lstm.hidden_size)))
        if lstm.bidirectional:
            backwards = _one_way(lstm, values.gather(1, mirrored.expand_as(values)), f"l{layer}_reverse")
            last.append(backwards.gather(1, end[..., None].expand(-1, -1, lstm.hidden_size)))
            outputs.append(backwards.gather(1, mirrored.expand_as(backwards)))
        values = torch.cat(outputs, 2)
    return values, torch.cat(last, 1).transpose(0, 1)


def _one_way(lstm: nn.LSTM, values: Tensor, which: str) -> Tensor:
    """Return the hidden states [B, T, hidden] of one direction of a layer, which reads from the first position on."""
    weights = [getattr(lstm, f"{part}_{which}") for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    start = values.new_zeros(1, len(values), lstm.hidden_size)
    return torch.lstm(values, (start, start), weights, True, 1, 0.0, lstm.training, False, True)[0]
