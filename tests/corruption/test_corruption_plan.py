import numpy as np
import pytest
import torch

from elision.corruption.kind import Draw
from elision.corruption.plan import Plan, conditions, draw, read, write
from elision.settings.params import Params
from elision.store import Sequences, Store
from elision.training.split import SplitData
from elision.training.view import View


def corruption(protocol="elision", **values):
    """Settings of the test conditions, as a dataset gets them."""
    params = Params(datasets={"d": {"source": "demo"}}, methods=["majority"], protocol=protocol, corruption=values)
    return params.corruption_for("d")


def test_all_subsets_of_the_modalities_are_absent_once():
    listed = [c for c in conditions(corruption(), ("text", "audio", "vision")) if c.corruption == "absent"]
    assert [c.modalities for c in listed] == [
        (),
        ("text",),
        ("audio",),
        ("vision",),
        ("text", "audio"),
        ("text", "vision"),
        ("audio", "vision"),
    ]
    assert listed[4].kind.rates(listed[4]).tolist() == [1.0, 1.0, 0.0]
    assert listed[0].kind.rates(listed[0]).tolist() == [0.0, 0.0, 0.0]


def test_a_modality_that_the_dataset_lacks_is_in_no_condition():
    listed = conditions(corruption(random=[0.0, 0.5]), ("audio", "vision"))
    assert [(c.corruption, c.level, c.modalities) for c in listed] == [
        ("random", 0.0, ()),
        ("random", 0.5, ("audio", "vision")),
        ("absent", 0.0, ()),
        ("absent", 1.0, ("audio",)),
        ("absent", 1.0, ("vision",)),
    ]


def test_only_the_test_split_is_drawn(store):
    _, drawn = draw(store, corruption())
    rows = store.rows("test")
    assert {name: len(values) for name, values in drawn.items()} == {
        name: int(store.modalities[name].lengths[rows].sum()) for name in ("text", "audio", "vision")
    }


def test_draws_do_not_depend_on_the_other_samples(store):
    _, drawn = draw(store, corruption())
    kept = store.rows("test")[2:]
    smaller = Store(
        store.samples.iloc[kept].reset_index(drop=True),
        {
            name: type(sequences).of([sequences[i] for i in kept], sequences.header)
            for name, sequences in store.modalities.items()
        },
        store.provenance,
    )
    _, fewer = draw(smaller, corruption())
    for name in drawn:
        assert np.array_equal(drawn[name][-len(fewer[name]) :], fewer[name])


def test_what_is_written_is_read_back(store, tmp_path):
    paths = tmp_path / "draws.safetensors", tmp_path / "draws.json"
    write(store, corruption(random=[0.0, 0.3]), *paths, {"identity": "x"})
    plan = read(*paths)
    listed, drawn = draw(store, corruption(random=[0.0, 0.3]))
    assert plan.conditions == listed
    assert plan.provenance == {"identity": "x"}
    assert all(np.array_equal(plan.uniforms[name], drawn[name]) for name in drawn)


def one_vector_each(store, *, tokens):
    """The store with one frame per modality and sample, and its text as tokens or as one vector."""
    length = {name: np.minimum(sequences.lengths, 1) for name, sequences in store.modalities.items()}
    random, made = np.random.default_rng(0), {}
    for name, sequences in store.modalities.items():
        if name == "text":
            if tokens:
                made["text"] = sequences
                continue
            name, width = "text_features", 6
        else:
            width = sequences.width
        values = [random.normal(size=(n, width)).astype(np.float32) for n in length[name.partition("_")[0]]]
        made[name] = Sequences.of(values, sequences.header)
    made["vision"].values[3] = np.nan
    return Store(store.samples, made, store.provenance)


@pytest.mark.parametrize("tokens", [False, True])
def test_a_sample_is_empty_where_a_method_that_reads_all_sees_nothing(store, tokens):
    store = one_vector_each(store, tokens=tokens)
    noise = {"kinds": ["gaussian"], "intensities": [20]}
    settings = corruption(random=[0.0, 0.5, 0.9, 1.0], combined=[0.5], noise=noise, burst={"rates": [0.5, 0.9]})
    listed, drawn = draw(store, settings)
    plan = Plan(listed, settings.seed, drawn, {})
    empty = plan.emptied(store, 0, settings)
    data = SplitData(store, "test", scales={}, view=View(reads_text="tokens" if tokens else "vectors"))
    seen = set()
    for condition in listed:
        setting = getattr(settings, condition.kind.name)
        numbers = plan.numbers(condition.kind, store, 0)
        lost = data.corrupted(condition.kind.test(condition, data.samples, Draw(plan.seed, "test"), numbers, setting))
        batch = data.batch(torch.arange(len(data)), lost)
        observed = {name: getattr(batch, name).observed.clone() for name in ("text", "audio", "vision")}
        if tokens:  # [CLS] and [SEP] tell nothing
            observed["text"][:, 0] = False
            observed["text"][torch.arange(len(data)), (batch.text.lengths - 1).clamp(min=0)] = False
        left = torch.stack([of.any(1) for of in observed.values()]).any(0).numpy()
        assert np.array_equal(empty[condition], ~left), condition
        seen.add((condition.corruption, (~left).mean()))
    assert any(0 < share < 1 for _, share in seen)
    assert ("random", 1.0) in seen and len({share for kind, share in seen if kind == "gaussian"}) == 1


def test_empty_samples_of_a_fold_are_those_of_its_test_split(store):
    samples = store.samples.drop(columns="split")
    parts = [np.where(np.arange(len(samples)) % 3 == k, "test", "train") for k in (0, 1)]
    samples = samples.assign(**{f"fold-{k}": part for k, part in enumerate(parts, 1)})
    store = one_vector_each(Store(samples, store.modalities, store.provenance), tokens=False)
    settings = corruption(random=[0.9], absent=False)
    listed, drawn = draw(store, settings)
    plan = Plan(listed, settings.seed, drawn, {})
    for fold in (1, 2):
        found = plan.emptied(store, fold, settings)[listed[0]]
        assert len(found) == len(store.rows("test", fold)) and 0 < found.mean() < 1


def test_modalities_are_absent_and_the_others_lose_at_a_rate_at_once():
    settings = corruption(random=[0.0], absent=False, combined=[0.3, 1.0])
    listed = [c for c in conditions(settings, ("text", "audio", "vision")) if c.corruption == "combined"]
    assert len(listed) == 2 * 6
    rates = {(c.level, c.modalities): c.kind.rates(c).tolist() for c in listed}
    assert rates[0.3, ("audio", "vision")] == pytest.approx([0.3, 1.0, 1.0])
    assert rates[0.3, ("text",)] == pytest.approx([1.0, 0.3, 0.3])
    assert rates[1.0, ("text",)] == [1.0, 1.0, 1.0]


def test_noise_replaces_every_set_of_modalities_that_can_be_absent_at_every_intensity():
    settings = corruption(random=[0.0], absent=False, noise={"kinds": ["gaussian", "impulse"], "intensities": [20, 40]})
    listed = [c for c in conditions(settings, ("text", "audio", "vision")) if c.kind.name == "noise"]
    assert len(listed) == 2 * 2 * 6
    assert {c.level for c in listed} == {20.0, 40.0}
    assert all(set(c.kind.rates(c).tolist()) == {0.0, 1.0} for c in listed)


def test_the_test_samples_of_a_fold_lose_the_same_whatever_the_folds(store, tmp_path):
    order = np.arange(len(store.samples))
    samples = store.samples.drop(columns="split")
    samples["fold-1"] = np.where(order % 3 == 0, "test", "train")
    samples["fold-2"] = np.where(order % 3 == 1, "test", "train")
    folded = Store(samples, store.modalities, store.provenance)
    write(folded, corruption(), tmp_path / "draws", tmp_path / "conditions", {})
    plan = read(tmp_path / "draws", tmp_path / "conditions")
    for fold in (1, 2):
        alone = Store(
            samples.assign(split=samples[f"fold-{fold}"]).drop(columns=["fold-1", "fold-2"]), store.modalities, {}
        )
        _, drawn = draw(alone, corruption())
        for name, values in plan.shared(folded, fold).items():
            assert np.array_equal(values, drawn[name])


def test_a_run_has_masks_of_its_own_where_the_seed_is_that_of_the_run(store, tmp_path):
    settings = corruption(seed="run", block=[0.5])
    write(store, settings, tmp_path / "draws", tmp_path / "conditions", {})
    plan = read(tmp_path / "draws", tmp_path / "conditions")
    first, second = (plan.of_run(seed, store, settings, None) for seed in (3, 4))
    expected = draw(store, corruption(seed=3, block=[0.5]))
    assert first.conditions == expected[0] and first.seed == 3
    assert first.uniforms.keys() == expected[1].keys()
    for name, values in first.uniforms.items():
        np.testing.assert_array_equal(values, expected[1][name])
        assert not np.array_equal(values, second.uniforms[name])


def test_rates_of_single_modalities_are_written_and_read(store, tmp_path):
    settings = corruption(random=[0.5, {"text": [0.2, 0.8], "vision": 0.3}])
    write(store, settings, tmp_path / "draws", tmp_path / "conditions", {})
    listed = [c for c in read(tmp_path / "draws", tmp_path / "conditions").conditions if c.corruption != "absent"]
    assert [(c.corruption, c.which) for c in listed] == [
        ("random", "text+audio+vision"),
        ("random_imbalanced", "text 0.2+vision 0.3"),
        ("random_imbalanced", "text 0.8+vision 0.3"),
    ]
    assert listed[1].kind is listed[0].kind
