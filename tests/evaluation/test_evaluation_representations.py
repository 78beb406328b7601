import numpy as np
import pytest

from elision.errors import ElisionError
from elision.evaluation.representations import RATES, choose, read, write
from elision.store import write_tensors

IDS = np.array([f"clip-{i}" for i in range(40)])


def arrays(count=3):
    return {
        "values": np.arange(2 * count * 4, dtype=np.float32).reshape(2, count, 4),
        "rates": np.array([0.0, 0.5]),
        "labels": np.linspace(-1, 1, count, dtype=np.float32),
        "ids": IDS[:count],
        "checkpoint": np.array("valid"),
    }


def test_the_samples_that_are_chosen_do_not_depend_on_their_order():
    chosen = set(IDS[choose(IDS, seed=1, most=10)])
    shuffled = np.random.default_rng(0).permutation(IDS)
    assert len(chosen) == 10
    assert set(shuffled[choose(shuffled, seed=1, most=10)]) == chosen
    assert set(IDS[choose(IDS, seed=2, most=10)]) != chosen


def test_samples_keep_their_order_and_few_are_all_kept():
    assert (np.diff(choose(IDS, seed=1, most=10)) > 0).all()
    assert choose(IDS, seed=1).tolist() == list(range(40))


def test_a_sample_more_replaces_one_at_most():
    before, after = (set(IDS[choose(IDS[:count], seed=1, most=10)]) for count in (39, 40))
    assert len(before - after) <= 1


def test_what_is_written_is_read_with_its_provenance_and_has_the_same_bytes(tmp_path):
    for name in ("first", "second"):
        write(tmp_path / name, arrays(), {"identity": "abc", "data": "d"})
    found, provenance = read(tmp_path / "first")
    assert provenance == {"identity": "abc", "data": "d"}
    assert found.keys() == arrays().keys()
    for name, values in arrays().items():
        assert np.array_equal(found[name], values), name
    assert found["values"].dtype == np.float32
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_no_conditions_are_written_and_read_like_any(tmp_path):
    nothing = {**arrays(), "values": np.zeros((0, 3, 0), np.float32), "rates": np.zeros(0)}
    write(tmp_path / "a", nothing, {})
    assert read(tmp_path / "a")[0]["values"].shape == (0, 3, 0)


def test_a_file_whose_parts_do_not_fit_together_is_refused(tmp_path):
    write(tmp_path / "a", {**arrays(), "labels": np.zeros(2)}, {})
    write(tmp_path / "b", {**arrays(), "ids": IDS[:2]}, {})
    write_tensors(tmp_path / "c", {"values": np.zeros(3)}, {"provenance": {}})
    for name in "abc":
        with pytest.raises(ElisionError, match=rf"/{name}[: ].*delete the file and run again"):
            read(tmp_path / name)
    with pytest.raises(ElisionError, match="does not exist"):
        read(tmp_path / "d")


def test_the_rates_are_those_of_the_confusion_matrices():
    assert RATES == (0.0, 0.1, 0.5, 0.9)
