import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from elision.methods.layers import packing
from elision.methods.layers.packing import pack, read, unpack


@pytest.mark.parametrize("lengths", [[3, 7, 1, 5], [1], [7, 7], [1, 2, 2, 9, 3]])
@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU])
def test_packing_equals_that_of_pytorch_to_the_bit(lengths, layer):
    torch.manual_seed(0)
    values, lengths = torch.randn(len(lengths), 9, 4), torch.tensor(lengths)
    recurrent = layer(4, 3, 2, batch_first=True, bidirectional=True)
    theirs, last = recurrent(pack_padded_sequence(values, lengths, batch_first=True, enforce_sorted=False))
    ours, same = recurrent(pack(values, lengths))
    expected = pad_packed_sequence(theirs, batch_first=True, total_length=9)[0]
    assert torch.equal(unpack(ours, 9), expected)
    assert all(map(torch.equal, last, same)) if layer is nn.LSTM else torch.equal(last, same)


@pytest.mark.parametrize("lengths", [[3, 7, 1, 5], [1], [7, 7], [1, 2, 2, 9, 3]])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_reading_padded_sequences_equals_reading_packed_ones(lengths, bidirectional):
    torch.manual_seed(0)
    values, lengths = torch.randn(len(lengths), 9, 4, requires_grad=True), torch.tensor(lengths)
    lstm = nn.LSTM(4, 3, batch_first=True, bidirectional=bidirectional)
    packed, (expected_last, _) = lstm(pack(values, lengths))
    expected = unpack(packed, 9)
    outputs, last = read(lstm, values, lengths)
    valid = (torch.arange(9) < lengths[:, None])[..., None]
    torch.testing.assert_close(outputs * valid, expected)
    torch.testing.assert_close(last, expected_last)
    watched = [values, *lstm.parameters()]
    weights = torch.randn_like(expected)
    theirs, ours = (
        torch.autograd.grad((states * weights * valid).sum() + final.square().sum(), watched)
        for states, final in ((expected, expected_last), (outputs, last))
    )
    for gradient, same in zip(theirs, ours, strict=True):
        torch.testing.assert_close(gradient, same)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_wide_layer_predicts_from_what_is_no_padding_as_it_trains(bidirectional, monkeypatch):
    torch.manual_seed(0)
    values, lengths = torch.randn(4, 9, 4), torch.tensor([3, 9, 1, 5])
    lstm = nn.LSTM(4, 3, batch_first=True, bidirectional=bidirectional)
    expected = read(lstm, values, lengths)
    monkeypatch.setattr(packing, "_WIDE", 3)
    poisoned = values.masked_fill((torch.arange(9) >= lengths[:, None])[..., None], torch.nan)
    with torch.inference_mode():
        outputs, last = read(lstm, poisoned, lengths)
    valid = (torch.arange(9) < lengths[:, None])[..., None]
    torch.testing.assert_close(outputs, expected[0] * valid)
    torch.testing.assert_close(last, expected[1])
