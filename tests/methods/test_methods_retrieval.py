import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elision.errors import ElisionError
from elision.methods.layers.retrieval import Database
from elision.store import write_tensors
from elision.task import MODALITIES


def vectors(count: int, width: int = 8, seed: int = 0) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {name: torch.randn(count, width, generator=random) * 3 for name in MODALITIES}


def database(values: dict[str, torch.Tensor] | None = None, labelled: int | None = None) -> Database:
    values = vectors(30) if values is None else values
    count = len(values["text"])
    return Database(values, rows=torch.arange(count) + 50, labelled=torch.arange(count) < (labelled or count))


def same(values: torch.Tensor) -> Database:
    return database(dict.fromkeys(MODALITIES, values))


def ids(count: int = 30) -> list[str]:
    return [f"clip_{i}" for i in range(count)]


def assert_equal(first: Database, second: Database) -> None:
    assert torch.equal(first.rows, second.rows) and torch.equal(first.labelled, second.labelled)
    assert all(torch.equal(first.vectors[name], second.vectors[name]) for name in MODALITIES)


@given(st.integers(1, 60), st.integers(1, 40), st.integers(0, 99))
@settings(max_examples=25)
def test_a_search_gives_the_largest_cosines_in_order(count, queries, seed):
    values = vectors(count, seed=seed)
    query = torch.randn(queries, 8, generator=torch.Generator().manual_seed(seed + 1))
    k = min(6, count)
    for name in MODALITIES:
        scores, positions = database(values).search(name, query, k)
        cosines = torch.cosine_similarity(query[:, None].double(), values[name][None].double(), dim=2)
        expected = cosines.topk(k, dim=1)
        assert torch.equal(positions, expected.indices)
        torch.testing.assert_close(scores, expected.values.float())


def test_a_stored_vector_finds_itself_first_with_a_cosine_of_1():
    searched = database()
    for name in MODALITIES:
        scores, positions = searched.search(name, searched.vectors[name], 6)
        assert torch.equal(positions[:, 0], torch.arange(30)) and (scores[:, 0] == 1).all()
        assert (scores[:, 1:] < 1).all()


def test_only_the_direction_of_queries_and_vectors_counts():
    values, query = vectors(30), vectors(4, seed=1)["text"]
    scores, positions = database(values).search("text", query, 5)
    lengths = torch.logspace(-2, 2, 30)[:, None]
    others = database({name: v * lengths for name, v in values.items()}).search("text", query * 1000, 5)
    assert torch.equal(others[1], positions)
    torch.testing.assert_close(others[0], scores)


@pytest.mark.parametrize("queries", [1, 19, 50])
def test_of_equal_cosines_the_lower_position_comes_first(queries):
    values = vectors(200, width=16)["text"]
    equal = torch.tensor([3, 17, 18, 64, 65, 66, 67, 120, 121, 150, 198, 199])
    values[equal] = values[3].clone()
    nearer = values[3] + 0.01 * values[5]  # nearest are the twelve, in a dead heat
    scores, positions = same(values).search("text", nearer.expand(queries, -1), 5)
    assert (positions == equal[:5]).all()
    assert len(scores.unique()) == 1
    # One is closer than they are; the last place is shared by all of them.
    _, positions = same(torch.cat([values, nearer[None]])).search("text", nearer.expand(queries, -1), 3)
    assert positions.tolist() == [[200, 3, 17]] * queries


def test_a_constant_modality_gives_the_first_positions():
    scores, positions = same(torch.ones(40, 8)).search("audio", torch.ones(3, 8), 6)
    assert positions.tolist() == [[0, 1, 2, 3, 4, 5]] * 3
    assert (scores == 1).all()


def test_zeros_have_a_cosine_of_0_instead_of_nan():
    values = vectors(10)["text"]
    values[4] = 0
    scores, positions = same(values).search("text", torch.stack([values[4], -values[2]]), 10)
    assert scores.isfinite().all() and (scores[0] == 0).all()
    assert positions[0].tolist() == list(range(10))
    assert scores[1, positions[1] == 4] == 0


def test_a_query_that_is_not_finite_is_read_as_zeros():
    query = torch.tensor([[torch.nan] * 8, [torch.inf] + [0.0] * 7])
    for k in (5, 30):
        scores, positions = database().search("text", query, k)
        assert not scores.any() and positions.tolist() == [list(range(k))] * 2


def test_neither_the_number_of_threads_nor_the_other_queries_change_a_neighbour():
    values = vectors(700, width=32)["text"]
    values[300:340] = values[100] + 1e-6 * values[300:340]  # many that float32 hardly tells apart
    searched, query = same(values), torch.cat([values[100:103], values[320:350] + 0.1])
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            results.append(searched.search("text", query, 6))
    finally:
        torch.set_num_threads(before)
    alone = [searched.search("text", each[None], 6) for each in query]
    results.append(tuple(torch.cat(column) for column in zip(*alone, strict=True)))
    for scores, positions in results[1:]:
        assert torch.equal(scores, results[0][0]) and torch.equal(positions, results[0][1])


def test_asking_for_no_neighbour_or_more_than_there_are_is_an_error():
    for k in (0, 31):
        with pytest.raises(ValueError, match="30 samples"):
            database().search("text", torch.ones(1, 8), k)


def test_vectors_are_constants():
    values = {name: v.requires_grad_() for name, v in vectors(5).items()}
    searched = database(values)
    assert not any(v.requires_grad for v in searched.vectors.values())
    assert not searched.search("text", values["text"] * 2, 2)[0].requires_grad


def test_subsets_are_labelled_or_unlabelled_samples_in_their_order():
    whole = database(labelled=20)
    rows = {kind: (whole.subset(kind).rows - 50).tolist() for kind in ("labelled", "unlabelled", "all")}
    assert rows == {"labelled": list(range(20)), "unlabelled": list(range(20, 30)), "all": list(range(30))}
    part = whole.subset("unlabelled")
    assert not part.labelled.any()
    assert all(torch.equal(part.vectors[name], whole.vectors[name][20:]) for name in MODALITIES)
    scores, positions = part.search("text", whole.vectors["text"][23:24], 1)
    assert positions.item() == 3 and scores.item() == 1


def test_smaller_subsets_lie_in_larger_ones_and_depend_on_the_seed_alone():
    whole = database(labelled=20)
    drawn = [whole.subset("labelled", size, 5).rows.tolist() for size in (4, 9, 20, 99)]
    assert [len(rows) for rows in drawn] == [4, 9, 20, 20]
    assert all(rows == sorted(rows) for rows in drawn)
    assert set(drawn[0]) < set(drawn[1]) < set(drawn[2])
    assert whole.subset("labelled", 9, 5).rows.tolist() == drawn[1]
    assert whole.subset("labelled", 9, 6).rows.tolist() != drawn[1]


def test_a_database_comes_back_as_it_was_written(tmp_path):
    written = database(labelled=20)
    written.write(tmp_path, ids(), {"step": "index"})
    table = ["another", *reversed(ids())]
    read, provenance = Database.read(tmp_path, table)
    assert provenance == {"step": "index"}
    assert [table[row] for row in read.rows] == ids()
    read.rows = written.rows
    assert_equal(read, written)
    query = vectors(7, seed=1)["audio"]
    for mine, its in zip(written.search("audio", query, 5), read.search("audio", query, 5), strict=True):
        assert torch.equal(mine, its)


def test_the_file_has_the_same_bytes_every_time(tmp_path):
    for name in ("one", "two", "two"):
        database().write(tmp_path / name, ids(), {"b": 1, "a": 2})
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["vectors.safetensors"]
    one, two = ((tmp_path / name / "vectors.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


def test_a_number_of_ids_that_is_not_that_of_the_samples_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="29 ids for 30 samples"):
        database().write(tmp_path, ids(29), {})


def test_a_sample_that_the_table_does_not_have_is_named_with_file_and_remedy(tmp_path):
    database().write(tmp_path, ids(), {})
    with pytest.raises(ElisionError, match=r'vectors\.safetensors: sample "clip_7" is not in the table.*delete'):
        Database.read(tmp_path, [name for name in ids() if name != "clip_7"])


def test_a_missing_or_damaged_file_is_named(tmp_path):
    database().write(tmp_path, ids(), {})
    path = tmp_path / "vectors.safetensors"
    whole = path.read_bytes()
    for damaged in (b"", whole[:3], whole[:20], whole[: len(whole) // 2], b"\xff" * 400, bytes(400)):
        path.write_bytes(damaged)
        with pytest.raises(ElisionError, match=f"{path.name}.*run again"):
            Database.read(tmp_path, ids())
    path.unlink()
    with pytest.raises(ElisionError, match=f"{path.name}.*(does not exist|no such file)"):
        Database.read(tmp_path, ids())


@pytest.mark.parametrize("wrong", ["nothing", "lengths", "flags", "flag type"])
def test_a_store_file_that_is_no_database_is_an_error(tmp_path, wrong):
    database().write(tmp_path, ids(), {})
    tensors = {name: v.numpy() for name, v in vectors(30).items()} | {"labelled": np.ones(30, bool)}
    changes = {
        "nothing": {},
        "lengths": {"text": np.ones((29, 8), np.float32)},
        "flags": {"labelled": np.ones(2, bool)},
        "flag type": {"labelled": np.ones(30, np.int64)},
    }
    tensors |= changes[wrong]
    metadata = {} if wrong == "nothing" else {"ids": ids(), "provenance": {}}
    write_tensors(tmp_path / "vectors.safetensors", tensors, metadata)
    with pytest.raises(ElisionError, match=r"vectors\.safetensors: not a retrieval database"):
        Database.read(tmp_path, ids())
