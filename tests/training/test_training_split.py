import numpy as np
import pytest
import torch

from elision.corruption.kind import Condition, Draw, Drawn, kinds
from elision.corruption.kinds.noise import Setting
from elision.features.align import spans_of, spread
from elision.methods import build, resolve
from elision.methods.base import TrainingHyperparameters
from elision.methods.layers.text_encoder import StubEncoder
from elision.store import Sequences, Store
from elision.training.split import Mixture, SplitData
from elision.training.view import View, scales, spec

ALL = torch.arange(12)
FRAMES = ("audio", "vision")
HALF = np.full(3, 0.5, np.float32)


LNLN = Mixture("half_complete")


def split(store, name="train", scales=None, spans=None, **seen):
    return SplitData(store, name, scales=scales or {}, spans=spans, view=View(**seen))


def test_a_batch_holds_the_samples_padded_to_the_fixed_length(store):
    batch = split(store).batch(torch.tensor([3, 0]), None)
    for name, length in (("text", 9), ("audio", 9), ("vision", 10)):
        sequence, source = getattr(batch, name), store.modalities[name]
        assert sequence.values.shape[:2] == (2, length)
        assert sequence.lengths.tolist() == source.lengths[[3, 0]].tolist()
        expected = torch.from_numpy(np.nan_to_num(source[3]).copy())
        assert torch.equal(sequence.values[0, : len(expected)], expected.to(sequence.values.dtype))
        assert not sequence.values[0, len(expected) :].any()
    assert batch.index.tolist() == [3, 0]
    assert batch.label.tolist() == pytest.approx(store.samples["label"][[3, 0]].tolist())
    assert not batch.rate.any()


def test_a_frame_without_a_face_is_valid_but_not_observed(store):
    vision = split(store).batch(torch.tensor([2]), None).vision
    assert vision.valid[0, 1]
    assert not vision.observed[0, 1]
    assert not vision.values[0, 1].any()


def test_a_modality_that_a_sample_lacks_is_nowhere_valid(store):
    batch = split(store).batch(ALL, None)
    assert not batch.audio.valid[5].any()
    assert not batch.text.valid[6].any()


def test_observed_is_a_subset_of_valid_and_missing_frames_are_zeros(store):
    data = split(store)
    corrupted = data.training_corruption(LNLN, seed=1, stream="train 1")
    batch = data.batch(ALL, corrupted, with_clean=True)
    for name in ("audio", "vision"):
        sequence, clean = getattr(batch, name), getattr(batch.clean, name)
        assert (sequence.observed <= sequence.valid).all()
        assert torch.equal(sequence.valid, clean.valid)
        assert not sequence.values[~sequence.observed].any()
        assert torch.equal(sequence.values[sequence.observed], clean.values[sequence.observed])
    assert (batch.audio.observed.sum() < batch.clean.audio.observed.sum()).item()


def test_missing_tokens_are_unknown_and_the_ends_stay(store):
    data = split(store)
    corrupted = data.corrupted(Drawn(np.ones(3, np.float32), _uniforms(data)))
    text = data.batch(torch.tensor([0]), corrupted).text
    length = int(text.lengths[0])
    assert text.values[0, :length].tolist() == [101, *[100] * (length - 2), 102]
    assert text.observed[0].tolist() == [True, *[False] * (length - 2), True, *[False] * (9 - length)]
    assert text.valid[0].sum() == length


def test_a_sample_is_corrupted_alike_in_every_batch(store):
    data = split(store)
    corrupted = data.training_corruption(LNLN, seed=1, stream="train 1")
    whole, single = data.batch(ALL, corrupted), data.batch(torch.tensor([7]), corrupted)
    for name in ("text", "audio", "vision"):
        assert torch.equal(getattr(whole, name).values[7:8], getattr(single, name).values)
    assert torch.equal(whole.rate[7:8], single.rate)


def test_epochs_are_corrupted_differently(store):
    data = split(store)
    first, second = (data.training_corruption(LNLN, seed=1, stream=f"train {epoch}") for epoch in (1, 2))
    assert not torch.equal(first.rates, second.rates)
    assert not torch.equal(first.lost["vision"], second.lost["vision"])


def test_complete_data_lose_nothing(store):
    data = split(store)
    assert data.training_corruption(Mixture("complete"), seed=1, stream="train 1") is None
    batch = data.batch(ALL, None, with_clean=True)
    assert torch.equal(batch.audio.values, batch.clean.audio.values)


def test_a_modality_left_out_is_one_invalid_position(store):
    data = split(store, modalities=("text", "vision"))
    batch = data.batch(ALL, data.training_corruption(LNLN, seed=1, stream="train 1"))
    assert batch.audio.values.shape == (12, 1, 1)
    assert not batch.audio.valid.any()


def test_text_left_out_is_one_invalid_token(store):
    batch = split(store, modalities=("audio",)).batch(ALL, None)
    assert batch.text.values.shape == (12, 1)
    assert batch.text.values.dtype == torch.int64
    assert not batch.text.valid.any()


def test_training_frames_are_standardised_and_missing_frames_stay_zero(store):
    measured = scales(store, standardise=["audio", "vision"])
    batch = split(store, scales=measured).batch(ALL, None)
    for name in ("audio", "vision"):
        sequence = getattr(batch, name)
        frames = sequence.values[sequence.observed]
        assert frames.mean(0).abs().max() < 1e-5
        assert (frames.std(0, correction=0) - 1).abs().max() < 1e-4
        assert not sequence.values[~sequence.observed].any()


def test_what_is_listed_is_scaled_and_the_rest_stays_as_it_is(store):
    plain = split(store).batch(ALL, None)
    for name, other in (("audio", "vision"), ("vision", "audio")):
        measured = scales(store, standardise=[name])
        assert list(measured) == [name]
        batch = split(store, scales=measured).batch(ALL, None)
        assert torch.equal(getattr(batch, other).values, getattr(plain, other).values)
        assert not torch.equal(getattr(batch, name).values, getattr(plain, name).values)


def _spans(store):
    """Even spans, but that two tokens of the first sample share frames 1 and 2, and its ends have none."""
    spans = {name: spread(store.positions(), store.modalities[name].lengths) for name in FRAMES}
    for found in spans.values():
        found[: store.modalities["text"].offsets[1]] = 0
        found[1:3] = 1, 3
    return spans


def test_a_token_has_the_mean_of_its_frames(store):
    batch = split(store, alignment="words", spans=_spans(store)).batch(torch.tensor([0]), None)
    for name in FRAMES:
        sequence, source = getattr(batch, name), store.modalities[name]
        assert sequence.values.shape == (1, 9, source.width)
        expected = np.zeros((9, source.width))
        expected[1:3] = source[0][1:3].mean(0)
        np.testing.assert_allclose(sequence.values[0], expected, rtol=1e-6)
        assert sequence.valid[0].tolist() == sequence.observed[0].tolist() == [False, True, True, *[False] * 6]
    assert torch.equal(batch.text.values, split(store).batch(torch.tensor([0]), None).text.values)


def test_frames_are_lost_before_they_are_averaged(store):
    spans, offsets = _spans(store), np.concatenate([[0], np.cumsum(store.positions())])
    plain, data = split(store), split(store, alignment="words", spans=spans)
    corrupted = data.corrupted(Drawn(HALF, _uniforms(data)))
    before, after = plain.batch(ALL, corrupted, with_clean=True), data.batch(ALL, corrupted, with_clean=True)
    for name in FRAMES:
        for batch, aligned in ((before, after), (before.clean, after.clean)):
            frames, tokens = getattr(batch, name), getattr(aligned, name)
            expected, valid, observed = (torch.zeros_like(t) for t in (tokens.values, tokens.valid, tokens.observed))
            for row in range(12):
                for k, (start, stop) in enumerate(spans[name][offsets[row] : offsets[row + 1]]):
                    if stop > start:
                        expected[row, k] = frames.values[row, start:stop].mean(0)
                        valid[row, k] = True
                        observed[row, k] = frames.observed[row, start:stop].any()
            torch.testing.assert_close(tokens.values, expected)
            assert torch.equal(tokens.valid, valid)
            assert torch.equal(tokens.observed, observed)
            assert not tokens.values[~tokens.observed].any()
        assert (getattr(after, name).observed.sum() < getattr(after.clean, name).observed.sum()).item()


@pytest.mark.parametrize("alignment", ["words", "pooled"])
def test_an_aligned_sample_is_the_same_to_the_bit_in_every_batch(store, alignment):
    data = split(store, alignment=alignment, spans=_spans(store))
    corrupted = data.corrupted(Drawn(HALF, _uniforms(data)))
    whole = data.batch(ALL, corrupted)
    for index in ([7], [3, 7, 0], [7, 7]):
        batch = data.batch(torch.tensor(index), corrupted)
        for name in FRAMES:
            assert torch.equal(getattr(batch, name).values, getattr(whole, name).values[index])
            assert torch.equal(getattr(batch, name).observed, getattr(whole, name).observed[index])


@pytest.mark.parametrize("alignment", ["none", "words", "pooled"])
def test_lengths_are_known_on_the_cpu_as_the_device_would_count_them(store, alignment):
    data = split(store, alignment=alignment, spans=_spans(store))
    batch = data.batch(torch.tensor([7, 0, 3]), data.corrupted(Drawn(HALF, _uniforms(data))), with_clean=True)
    for name in ("text", *FRAMES):
        for sequence in (getattr(batch, name), getattr(batch.clean, name)):
            assert torch.equal(sequence.known_lengths, sequence.valid.sum(1)) and sequence.lengths_on_cpu.any()


def test_a_file_that_is_aligned_already_stays_as_it_is(store):
    text = store.modalities["text"]
    values = np.random.default_rng(0).normal(size=(len(text.values), 4)).astype(np.float32)
    audio = Sequences(values, text.offsets, store.modalities["audio"].header)
    store = Store(store.samples, {"text": text, "audio": audio}, store.provenance)
    spans = {"audio": spread(text.lengths, text.lengths)}
    aligned, plain = split(store, alignment="words", spans=spans).batch(ALL, None), split(store).batch(ALL, None)
    for part in ("values", "valid", "observed"):
        assert torch.equal(getattr(aligned.audio, part), getattr(plain.audio, part))


@pytest.mark.parametrize(
    ("tokens", "pool"),
    [
        (9, {"audio": 1, "vision": 2}),
        (4, {"audio": 3, "vision": 3}),
        (5, {"audio": 2, "vision": 2}),
        (12, {"audio": 1, "vision": 1}),
    ],
)
def test_pooling_averages_equal_parts_of_the_padded_sequence(store, tokens, pool):
    store.modalities["text"].header.length = tokens
    text = Sequences.of(store.modalities["text"], store.modalities["text"].header)
    store = Store(store.samples, {**store.modalities, "text": text}, store.provenance)
    plain, data = split(store), split(store, alignment="pooled")
    corrupted = data.corrupted(Drawn(HALF, _uniforms(data)))
    before, after = plain.batch(ALL, corrupted), data.batch(ALL, corrupted)
    for name in FRAMES:
        frames, pooled = getattr(before, name), getattr(after, name)
        length = frames.values.shape[1]
        size = length // tokens if length % tokens == 0 else length // tokens + 1
        assert size == pool[name]
        tensors = (frames.values, frames.valid, frames.observed)
        padded = [t[:, -1:].expand(-1, tokens * size - length, *t.shape[2:]) for t in tensors]
        values, valid, observed = (torch.cat([*p], 1) for p in zip(tensors, padded, strict=True))
        assert pooled.values.shape == (12, tokens, frames.values.shape[2])
        for k in range(tokens):
            part = slice(k * size, (k + 1) * size)
            torch.testing.assert_close(pooled.values[:, k], values[:, part].mean(1))
            assert torch.equal(pooled.valid[:, k], valid[:, part].any(1))
            assert torch.equal(pooled.observed[:, k], observed[:, part].any(1))


def test_the_last_frame_fills_up_a_pooled_sequence(store):
    vision = store.modalities["vision"]
    vision = Sequences.of([np.arange(30, dtype=np.float32).reshape(10, 3)] * 24, vision.header)
    store.modalities["text"].header.length = 8
    store = Store(store.samples, {**store.modalities, "vision": vision}, store.provenance)
    pooled = split(store, alignment="pooled").batch(torch.tensor([0]), None).vision
    assert pooled.values[0, :, 0].tolist() == [1.5, 7.5, 13.5, 19.5, 25.5, 27.0, 27.0, 27.0]
    assert pooled.valid.all()


@pytest.mark.parametrize("alignment", ["words", "pooled"])
def test_an_absent_modality_has_the_length_of_the_text(store, alignment):
    spans = _spans(store)
    for gone in ("audio", "vision", "text"):
        seen = tuple(name for name in ("text", "audio", "vision") if name != gone)
        data = split(store, alignment=alignment, spans=spans, modalities=seen)
        batch = data.batch(ALL, data.corrupted(Drawn(HALF, _uniforms(data))))
        absent, present = getattr(batch, gone), getattr(batch, "vision" if gone == "audio" else "audio")
        assert absent.values.shape == ((12, 9) if gone == "text" else (12, 9, 1))
        assert not absent.values.any()
        assert not absent.valid.any()
        assert not absent.observed.any()
        assert present.values.shape[1] == 9
        assert present.observed.any()


@pytest.mark.parametrize("alignment", ["words", "pooled"])
def test_a_dataset_without_text_is_aligned_to_the_frames_of_its_shorter_modality(store, alignment):
    audio, vision = (store.modalities[name] for name in FRAMES)
    store = Store(store.samples, {"audio": audio, "vision": vision}, store.provenance)
    spans, _ = spans_of(store, where="")
    batch = split(store, alignment=alignment, spans=spans).batch(ALL, None)
    assert batch.text.values.shape == (12, 9) and not batch.text.valid.any()
    assert batch.audio.values.shape == (12, 9, 4) and batch.vision.values.shape == (12, 9, 3)
    assert spec(store, "mosi", View(alignment=alignment)).length == {"text": 9, "audio": 9, "vision": 9}
    for row in range(12):
        for name, sequence in (("audio", audio), ("vision", vision)):
            assert getattr(batch, name).observed[row].any() == bool(sequence.lengths[row])
        if alignment == "words" and audio.lengths[row]:
            fewest = min(audio.lengths[row], vision.lengths[row])
            assert batch.audio.valid[row].sum() == batch.vision.valid[row].sum() == fewest
            if fewest == audio.lengths[row]:  # each position has a frame of its own
                np.testing.assert_array_equal(batch.audio.values[row, :fewest], audio[row])


def test_one_vector_per_modality_without_text_is_one_position(store):
    vectors = {
        name: Sequences.of([s[row][:1] for row in range(len(s))], s.header.model_copy(update={"length": 1}))
        for name, s in store.modalities.items()
        if name in FRAMES
    }
    store = Store(store.samples, vectors, store.provenance)
    batch = split(store, alignment="words", spans=spans_of(store, where="")[0]).batch(ALL, None)
    assert torch.equal(batch.audio.values, split(store).batch(ALL, None).audio.values)
    assert batch.vision.observed.any()


def test_text_vectors_without_token_ids_are_what_audio_and_vision_are_aligned_to(store):
    whole = with_vectors(store)
    tokenless = Store(store.samples, {k: v for k, v in whole.modalities.items() if k != "text"}, store.provenance)
    first, second = (
        split(each, alignment="words", spans=spans_of(each, where="")[0], reads_text="vectors").batch(ALL, None)
        for each in (whole, tokenless)
    )
    for name in ("text", *FRAMES):
        assert torch.equal(getattr(first, name).values, getattr(second, name).values)
        assert torch.equal(getattr(first, name).observed, getattr(second, name).observed)


def test_a_sample_without_text_keeps_its_audio_and_vision(store):
    # Sample 6 of the fixture has no text.
    batch = split(store, alignment="words", spans=spans_of(store, where="")[0]).batch(torch.tensor([6]), None)
    lengths = [store.modalities[name].lengths[6] for name in FRAMES]
    assert not batch.text.valid.any()
    assert batch.audio.valid.sum() == batch.vision.valid.sum() == min(lengths)


def with_vectors(store):
    """The store with six numbers per token."""
    text = store.modalities["text"]
    values = np.random.default_rng(0).normal(size=(len(text.values), 6)).astype(np.float32)
    frozen = Sequences(values, text.offsets, text.header)
    return Store(store.samples, {**store.modalities, "text_features": frozen}, store.provenance)


def test_text_vectors_are_not_aligned_anew(store):
    store, vectors = with_vectors(store), {"reads_text": "vectors"}
    aligned, plain = (
        split(store, **options, **vectors).batch(ALL, None).text
        for options in ({"alignment": "words", "spans": _spans(store)}, {})
    )
    assert aligned.values.shape == (12, 9, 6)
    assert torch.equal(aligned.values, plain.values)
    assert spec(store, "mosi", View(**vectors)).text == 6


def test_a_dataset_without_text_vectors_has_one_invalid_vector(store):
    text = split(store, reads_text="vectors").batch(ALL, None).text
    assert text.values.shape == (12, 1, 1) and text.values.dtype == torch.float32 and not text.valid.any()
    assert spec(store, "mosi", View(reads_text="vectors")).text == 1


def test_text_vectors_of_an_absent_text_are_zero_to_the_ends(store):
    store = with_vectors(store)
    rates = np.array([1, 0, 0], np.float32)
    for seen, lost in (("vectors", True), ("tokens", False)):
        data = split(store, reads_text=seen)
        text = data.batch(ALL, data.corrupted(Drawn(rates, _uniforms(data)))).text
        assert text.observed.any().item() != lost
        assert not (lost and text.values.any())


def test_modalities_are_absent_as_a_whole_and_never_all(store):
    data = split(store, reads_text="vectors")
    seen = {tuple(row) for k in range(9) for row in absent(data, f"train {k}").rates.tolist()}
    # The dataset has no text vectors: of two modalities, one is absent.
    assert seen == {(0.0, 1.0, 0.0), (0.0, 0.0, 1.0)}
    batch = data.batch(ALL, absent(data, "train 1"))
    for column, name in enumerate(("text", "audio", "vision")):
        gone = batch.rate[:, column] == 1
        assert not getattr(batch, name).observed[gone].any() and not getattr(batch, name).values[gone].any()
    assert len(data.validation_corruptions(Mixture("absent"), seed=1)) == 2
    assert len(split(store).validation_corruptions(Mixture("absent"), seed=1)) == 6
    assert len(split(store).validation_corruptions(LNLN, seed=1)) == 1


@pytest.mark.parametrize("kind", ["absent", "noise"])
def test_complete_samples_are_trained_and_validated_where_that_is_asked_for(store, kind):
    data = split(store, reads_text="vectors")
    for with_complete, sets in ((None, 2), (False, 2), (True, 3)):
        mixture = Mixture(kind, Setting(), TrainingHyperparameters(with_complete=with_complete))
        drawn = [data.training_corruption(mixture, seed=1, stream=f"train {k}").rates for k in range(9)]
        assert (not torch.cat(drawn).any(1).all()) == bool(with_complete)
        validated = data.validation_corruptions(mixture, seed=1)
        assert len(validated) == sets
        assert sum(not corrupted.rates.any() for corrupted in validated) == bool(with_complete)


def absent(data, stream):
    return data.training_corruption(Mixture("absent"), seed=1, stream=stream)


def test_noise_stands_where_a_modality_is_absent_and_keeps_it_observed(store):
    data = split(with_vectors(store), reads_text="vectors")
    settings = Setting()
    noise = Mixture("noise", settings, TrainingHyperparameters(noise="gaussian", intensity=40))
    batch = data.batch(ALL, data.training_corruption(noise, seed=1, stream="train 1"), with_clean=True)
    zeros = data.batch(ALL, absent(data, "train 1"))
    assert torch.equal(batch.rate, zeros.rate)
    for column, name in enumerate(("text", "audio", "vision")):
        noisy, clean = getattr(batch, name), getattr(batch.clean, name)
        gone = batch.rate[:, column] == 1
        assert torch.equal(noisy.observed, clean.observed)
        assert torch.equal(noisy.values[~gone], clean.values[~gone])
        assert not torch.isclose(noisy.values, clean.values)[gone][clean.observed[gone]].all(1).any()
        assert not noisy.values[~noisy.observed].any()


def test_noise_of_a_sample_depends_on_nothing_but_the_sample(store):
    data, kind = split(store), kinds()["noise"]
    condition = Condition("gaussian", 40.0, ("text", "audio", "vision"))

    def field(of, **settings):
        drawn = kind.test(condition, of.samples, Draw(1, "test"), {}, Setting(**settings))
        return of.corrupted(drawn).noise["audio"]

    first, again = field(data), field(split(store))
    assert torch.equal(first.values, again.values) and torch.equal(first.left, again.left)
    assert len(first.left.unique()) > 3
    shared = field(data, t_per_batch=True)
    signal, index = torch.zeros(3, 9, 4), torch.tensor([4, 2, 0])
    flat = torch.zeros(3, 9, dtype=torch.long)
    torch.testing.assert_close(shared.mix(signal, index, flat), first.mix(signal, index[:1].expand(3), flat))


def in_other_units(store):
    """The store, whose features have other means and deviations, each dimension its own; one does not vary."""
    random = np.random.default_rng(3)

    def changed(sequences):
        if sequences.values.ndim == 1:
            return sequences
        shift, factor = random.normal(0, 9, (2, sequences.width)).astype(np.float32)
        factor[-1] = 0
        return Sequences(sequences.values * factor + shift, sequences.offsets, sequences.header)

    return Store(store.samples, {name: changed(s) for name, s in store.modalities.items()}, store.provenance)


def noisy(store, intensity=60, *, standardise=(), **settings):
    data = split(store, scales=scales(store, standardise=standardise), reads_text="vectors")
    setting = Setting.model_validate(settings, context={"protocol": "of the test"})
    kind, condition = kinds()["noise"], Condition("gaussian", float(intensity), ("text", "audio", "vision"))
    draw = Draw(1, "test")
    drawn = kind.test(condition, data.samples, draw, draw.uniforms(data.samples), setting)
    return data.batch(ALL, data.corrupted(drawn))


def test_noise_does_not_depend_on_the_unit_of_a_feature(store):
    """What becomes of a feature is what would become of the standardised one, whichever modality, text included."""
    store = in_other_units(with_vectors(store))
    every = ["text_features", "audio", "vision"]
    measured, found = scales(store, standardise=every), noisy(store)
    standard = noisy(store, standardise=["audio", "vision"])
    for name, scale in zip(("text", "audio", "vision"), measured.values(), strict=True):
        sequence = getattr(found, name)
        mean, deviation = (torch.from_numpy(v) for v in (scale.mean, scale.std))
        if name != "text":
            expected = mean + deviation * getattr(standard, name).values
            torch.testing.assert_close(
                (sequence.values * sequence.observed[..., None])[..., :-1],
                (expected * sequence.observed[..., None])[..., :-1],
                atol=1e-4,
                rtol=1e-4,
            )
        constant = sequence.values[..., -1][sequence.observed]
        torch.testing.assert_close(constant, mean[-1].expand_as(constant), atol=1e-5, rtol=1e-5)
        values = (sequence.values[sequence.observed][:, :-1] - mean[:-1]) / deviation[:-1]
        assert values.mean().abs() < 0.2 and 0.8 < values.std() < 1.2


def test_noise_that_a_protocol_leaves_unscaled_has_the_deviation_1(store):
    store = in_other_units(with_vectors(store))
    batch, clean = noisy(store, 1000, scaled=False), split(store, reads_text="vectors").batch(ALL, None)
    for name in ("text", "audio", "vision"):
        values = getattr(batch, name).values[getattr(clean, name).observed]
        assert values[:, -1].std() > 0.8  # also where the feature does not vary


def test_noise_of_token_ids_is_unknown_tokens(store):
    data = split(store)
    mixture = Mixture("noise", Setting(), TrainingHyperparameters(noise="impulse", intensity=20))
    batch = data.batch(ALL, data.training_corruption(mixture, seed=1, stream="train 1"))
    gone = batch.rate[:, 0] == 1
    assert gone.any()
    inner = batch.text.valid & (torch.arange(9) > 0) & (torch.arange(9) < batch.text.lengths[:, None] - 1)
    assert not batch.text.observed[gone][inner[gone]].any()


def test_frames_and_modalities_are_missing_at_once(store):
    data = split(store)
    corrupted = [data.training_corruption(Mixture("combined"), seed=1, stream=f"train {k}") for k in range(9)]
    rates = torch.cat([each.rates for each in corrupted])
    assert not (rates == 1).all(1).any() and (rates == 1).any()
    kept = rates[(rates < 1).sum(1) > 1]
    assert all(len(row[row < 1].unique()) == 1 for row in kept)  # one missing rate per sample
    assert set((rates[rates < 1] * 10).round().int().tolist()) <= set(range(10))


def test_folds_and_classes(store):
    samples = store.samples.assign(label=["sad", "glad"] * (len(store.samples) // 2))
    samples = samples.drop(columns="split").assign(**{"fold-1": ["train", "test"] * (len(samples) // 2)})
    store = Store(samples, store.modalities, {**store.provenance, "classes": ["sad", "glad"]})
    data = split(store, "train", fold=1)
    assert data.labels.tolist() == [0] * len(data) and data.labels.dtype == torch.int64
    assert data.rows.tolist() == list(range(0, len(samples), 2))
    found = spec(store, "mosi", View(fold=1))
    assert (found.outputs, found.samples, found.classes) == (2, len(data), ("sad", "glad"))


@pytest.mark.parametrize("alignment", ["words", "pooled"])
def test_a_method_learns_from_aligned_batches(store, alignment):
    hyperparameters, _ = resolve("lnln", "mosi", {"width": 16, "alignment": alignment})
    with torch.random.fork_rng():
        method = build("lnln", hyperparameters, spec(store, "mosi", View(alignment=alignment)), StubEncoder(16))
        data = split(store, alignment=alignment, spans=_spans(store))
        batch = data.batch(ALL, data.training_corruption(LNLN, seed=1, stream="train 1"), with_clean=True)
        assert all(torch.isfinite(term) for term in method.loss(batch).values())


def test_the_masks_of_lnln_are_the_same_numbers_in_training_and_validation(store):
    mixture = Mixture("half_complete", mask_seed=1111, validation_rate=0.5)
    data, valid = split(store), split(store, "valid")
    first, second = (data.training_corruption(mixture, seed=seed, stream="train") for seed in (1, 2))
    assert not torch.equal(first.rates, second.rates)
    frames = data.lengths["vision"]
    drawn = np.random.RandomState(1111).uniform(size=(len(data), 10))[np.arange(10) < frames[:, None]]
    for corrupted in (first, second):
        rate = np.repeat(corrupted.rates[:, 2].numpy(), frames)
        assert corrupted.lost["vision"].tolist() == (drawn <= rate).tolist()
    (corrupted,) = valid.validation_corruptions(mixture, seed=1)
    assert (corrupted.rates == 0.5).all()
    drawn = np.random.RandomState(1111).uniform(size=(len(valid), 10))
    drawn = drawn[np.arange(10) < valid.lengths["vision"][:, None]]
    assert corrupted.lost["vision"].tolist() == (drawn <= 0.5).tolist()


def _uniforms(data):
    from elision.corruption.missing import uniforms

    return {
        name: uniforms(seed=1, stream="test", ids=data.ids, lengths=lengths, modality=name, keep_ends=name == "text")
        for name, lengths in data.lengths.items()
    }
