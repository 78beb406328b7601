import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elision.features.fill import fill_last, interpolate

masks = st.lists(st.booleans(), max_size=30).map(lambda mask: np.array(mask, bool))


def sequence(observed, hole=np.nan):
    values = np.random.default_rng(len(observed)).normal(size=(len(observed), 3)).astype(np.float32)
    values[~observed] = hole
    return values


@pytest.mark.parametrize("fill", [fill_last, interpolate])
@given(observed=masks, hole=st.sampled_from([np.nan, 0.0, 7.0]))
def test_observed_rows_stay_and_what_cannot_be_filled_is_as_it_was(fill, observed, hole):
    values = sequence(observed, hole)
    kept = values.copy(), observed.copy()
    filled, known = fill(values, observed)
    np.testing.assert_array_equal(values, kept[0])
    np.testing.assert_array_equal(observed, kept[1])
    assert filled.dtype == values.dtype and filled.shape == values.shape
    assert (known | ~observed).all()
    np.testing.assert_array_equal(filled[observed | ~known], values[observed | ~known])
    assert np.isfinite(filled[known]).all()


@given(observed=masks)
def test_the_last_value_is_that_of_a_loop(observed):
    values = sequence(observed)
    filled, known = fill_last(values, observed)
    last = None
    for row, (value, seen) in enumerate(zip(values, observed, strict=True)):
        last = value if seen else last
        assert known[row] == (last is not None)
        if last is not None:
            np.testing.assert_array_equal(filled[row], last)


@given(observed=masks, uneven=st.booleans())
def test_interpolation_is_that_of_numpy_between_the_ends(observed, uneven):
    values = sequence(observed)
    times = np.cumsum(np.random.default_rng(1).uniform(0.1, 2, len(observed))) if uneven else None
    filled, known = interpolate(values, observed, times=times)
    seen = np.flatnonzero(observed)
    between = np.zeros(len(observed), bool)
    if len(seen):
        between[seen[0] : seen[-1] + 1] = True
    np.testing.assert_array_equal(known, between)
    axis = np.arange(len(observed)) if times is None else times
    for column in range(3):
        if len(seen):
            expected = np.interp(axis[between], axis[seen], values[seen, column])
            np.testing.assert_allclose(filled[between, column], expected, atol=1e-5)


def test_long_gaps_are_left():
    observed = np.array([1, 0, 0, 1, 0, 1, 0, 0], bool)
    values = np.where(observed, np.arange(8), 0)[:, None].astype(float)
    filled, known = interpolate(values, observed, longest=1)
    assert filled.ravel().tolist() == [0, 0, 0, 3, 4, 5, 0, 0]
    assert known.astype(int).tolist() == [1, 0, 0, 1, 1, 1, 0, 0]
    filled, known = fill_last(values, observed, longest=1)
    assert filled.ravel().tolist() == [0, 0, 0, 3, 3, 5, 5, 0]
    assert known.astype(int).tolist() == [1, 1, 0, 1, 1, 1, 1, 0]
