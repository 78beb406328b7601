import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy
from sklearn import metrics as sklearn

from elision.errors import ElisionError
from elision.evaluation.metrics import (
    Classes,
    Once,
    classify,
    confusion_matrix,
    emotion_family_name,
    metric,
    score,
    weighted,
)
from elision.evaluation.metrics import family as family_of
from elision.evaluation.metrics.accuracy import share_right
from elision.evaluation.metrics.f1 import swapped_f1, weighted_f1
from elision.evaluation.metrics.variety import majority_share

RANGE = {"mosi": 3, "sims": 1}
FAMILIES = tuple(RANGE)
EMOTION = "emotion:happy,angry,sad,neutral"
scores = st.floats(-4, 4, width=32) | st.sampled_from([0.0, -0.0, 0.5, 1.5, 2.5, -0.5, -2.5, 0.1, -0.1, 0.7, -0.7, 3.0])


@st.composite
def pairs(draw, family):
    n = draw(st.integers(1, 40))
    end = RANGE[family]
    label = draw(st.lists(scores.filter(lambda v: abs(v) <= end), min_size=n, max_size=n))
    return np.array(draw(st.lists(scores, min_size=n, max_size=n))), np.array(label)


def classes_of(counts):
    """Classes with as many samples of each pair of a true (row) and a predicted class as a confusion matrix says."""
    counts = np.asarray(counts)
    label, prediction = np.repeat(np.indices(counts.shape).reshape(2, -1), counts.ravel(), axis=1)
    return Classes(prediction[None], label[None], len(counts), Once())


def test_mosi_values_worked_by_hand():
    label = [-2.0, -0.5, 0.0, 0.5, 1.5, 3.0]
    prediction = [-3.6, 0.2, -0.0, -0.4, 2.5, 1.0]
    values = score(prediction, label, family="mosi")
    # integers of the labels -2 0 0 0 2 3, of the predictions -3 0 0 0 2 1
    assert values["acc7"] == pytest.approx(4 / 6)
    # clipped to 2: labels -2 0 0 0 2 2, predictions -2 0 0 0 2 1; to 1: labels -1 0 0 0 1 1, predictions -1 0 0 0 1 1
    assert values["acc5"] == pytest.approx(5 / 6)
    assert values["acc3"] == 1
    # non-negative: labels 0 0 1 1 1 1, predictions 0 1 1 0 1 1
    assert values["acc2_nonneg"] == pytest.approx(4 / 6)
    assert values["f1_nonneg"] == pytest.approx((2 * (2 / 4) + 4 * (6 / 8)) / 6)
    # without the label 0: labels 0 0 1 1 1, predictions 0 1 0 1 1
    assert values["acc2_negpos"] == pytest.approx(3 / 5)
    assert values["f1_negpos"] == pytest.approx((2 * (2 / 4) + 3 * (4 / 6)) / 5)
    assert values["mae"] == pytest.approx((1.6 + 0.7 + 0 + 0.9 + 1 + 2) / 6)
    assert values["corr"] == pytest.approx(np.corrcoef(prediction, label)[0, 1])
    assert values["majority_share_7"] == pytest.approx(3 / 6)
    assert values["majority_share_2"] == pytest.approx(4 / 6)


def test_sims_values_worked_by_hand():
    label = np.array([-1.0, -0.4, -0.1, 0.0, 0.1, 0.8], np.float32)
    prediction = np.array([-3.0, -0.1, 0.0, 0.05, 0.7, 2.0], np.float32)
    values = score(prediction, label, family="sims")
    # five classes: labels 0 1 1 2 2 4, predictions 0 1 2 2 3 4
    assert values["acc5"] == pytest.approx(4 / 6)
    # three: labels 0 0 0 1 1 2, predictions 0 0 1 1 2 2
    assert values["acc3"] == pytest.approx(4 / 6)
    # two: labels 0 0 0 0 1 1, predictions 0 0 0 1 1 1
    assert values["acc2"] == pytest.approx(5 / 6)
    assert values["f1"] == pytest.approx((4 * (6 / 7) + 2 * (4 / 5)) / 6)
    # predictions clipped to -1 .. 1
    assert values["mae"] == pytest.approx((0 + 0.3 + 0.1 + 0.05 + 0.6 + 0.2) / 6)
    assert values["corr"] == pytest.approx(np.corrcoef(np.clip(prediction, -1, 1), label)[0, 1])
    assert values["majority_share_5"] == pytest.approx(2 / 6)
    assert values["majority_share_2"] == pytest.approx(3 / 6)
    # labels 1 2 2 0 1 of five classes, predictions 1 1 2 1 1; of two: labels 4 2, predictions 3 3
    labels, predictions = scipy_entropy([1, 2, 2, 1]), scipy_entropy([1, 1, 2, 1, 1])
    assert values["entropy_5"] == pytest.approx(predictions / labels)
    assert values["entropy_2"] == pytest.approx(np.log(2) / scipy_entropy([4, 2]))


def test_entropy_is_0_for_a_constant_output_and_1_for_one_as_varied_as_the_labels():
    label = np.array([-2.0, 1.0, 0.5, 3.0])
    assert score(np.full(4, 0.3), label, family="mosi")["entropy_7"] == 0
    assert score(label[::-1], label, family="mosi")["entropy_7"] == 1
    assert score([-2.0, 2.0, -2.0, 2.0], [1.0, 1.0, 1.0, -1.0], family="mosi")["entropy_2"] > 1
    assert np.isnan(score([-2.0, 2.0], [1.0, 1.0], family="mosi")["entropy_2"])
    assert score([0, 1, 1, 1], [0, 1, 2, 3], family=EMOTION)["entropy"] == pytest.approx(
        scipy_entropy([1, 3]) / np.log(4)
    )


def test_scores_round_half_to_even():
    halves = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]
    assert classify(halves, family="mosi", classes=7).tolist() == [1, 1, 3, 3, 5, 5]


def test_minus_zero_is_not_negative_and_exact_zero_is_not_positive():
    assert classify([-0.0, 0.0], family="mosi", classes=2).tolist() == [1, 1]
    assert classify([-0.0, 0.0], family="sims", classes=2).tolist() == [0, 0]
    values = score([0.0, -0.0, 2.0], [1.0, -1.0, 1.0], family="mosi")
    assert values["acc2_negpos"] == pytest.approx(2 / 3)
    assert values["acc2_nonneg"] == pytest.approx(2 / 3)


def test_sims_bins_are_closed_on_the_right_whether_values_are_float32_or_float64():
    edges = [-1.0, -0.7, -0.1, 0.1, 0.7, 1.0]
    for dtype in (np.float32, np.float64):
        assert classify(np.array(edges, dtype), family="sims", classes=5).tolist() == [0, 0, 1, 2, 3, 4]
    # A float64 that is next to an edge becomes the edge in float32.
    assert classify([0.1 + 1e-12], family="sims", classes=3).tolist() == [1]


def test_scores_beyond_the_range_fall_into_the_outer_classes():
    assert classify([-9.0, 9.0], family="mosi", classes=7).tolist() == [0, 6]
    assert classify([-9.0, 9.0], family="sims", classes=5).tolist() == [0, 4]


@settings(max_examples=40)
@given(st.data())
@pytest.mark.parametrize("family", FAMILIES)
def test_class_metrics_equal_those_of_sklearn(family, data):
    prediction, label = data.draw(pairs(family))
    values = score(prediction, label, family=family)
    binary = [classify(v, family=family, classes=2) for v in (label, prediction)]
    f1 = sklearn.f1_score(*binary, average="weighted", zero_division=0)
    assert values["f1" if family == "sims" else "f1_nonneg"] == pytest.approx(f1, abs=1e-12)
    for classes in (2, 3, 5, *((7,) if family == "mosi" else ())):
        truth, predicted = (classify(v, family=family, classes=classes) for v in (label, prediction))
        counts = confusion_matrix(truth, predicted, classes=classes)
        assert (counts == sklearn.confusion_matrix(truth, predicted, labels=range(classes))).all()
        of = classes_of(counts)
        assert share_right(of).item() == pytest.approx(sklearn.accuracy_score(truth, predicted))
        assert majority_share(of).item() == pytest.approx(np.bincount(predicted).max() / len(predicted))
    if family == "mosi" and (label != 0).any():
        kept = label != 0
        signs = label[kept] > 0, prediction[kept] > 0
        assert values["acc2_negpos"] == pytest.approx(sklearn.accuracy_score(*signs))
        expected = sklearn.f1_score(*signs, average="weighted", zero_division=0)
        assert values["f1_negpos"] == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40)
@given(st.data())
@pytest.mark.parametrize("family", FAMILIES)
def test_values_lie_in_their_range_and_do_not_depend_on_the_order_of_samples(family, data):
    prediction, label = data.draw(pairs(family))
    order = data.draw(st.permutations(range(len(label))))
    values = score(prediction, label, family=family)
    shuffled = score(prediction[order], label[order], family=family)
    if min(np.ptp(np.clip(prediction, -1, 1)), np.ptp(label)) < 1e-3:  # a correlation of rounding errors
        del values["corr"], shuffled["corr"]
    assert values == pytest.approx(shuffled, nan_ok=True, abs=1e-9)
    assert all(0 <= values[m] <= 1 for m in values if metric(m).percent and not np.isnan(values[m]))


@settings(max_examples=40)
@given(st.data())
@pytest.mark.parametrize("family", FAMILIES)
def test_a_perfect_prediction_has_every_accuracy_and_f1_of_one_and_no_error(family, data):
    label = data.draw(pairs(family))[1]
    values = score(label, label, family=family)
    better = [m for m in values if metric(m).better == "higher" and m != "corr" and not np.isnan(values[m])]
    assert [values[m] for m in better] == [pytest.approx(1)] * len(better)
    assert values["mae"] == 0


@given(st.integers(1, 500), st.integers(1, 500))
def test_a_constant_predictor_has_the_f1_that_its_accuracy_gives(majority, minority):
    a = majority / (majority + minority)
    of = classes_of([[0, minority], [0, majority]])
    with np.errstate(invalid="ignore"):
        assert share_right(of).item() == pytest.approx(a)
        assert weighted_f1(of).item() == pytest.approx(2 * a**2 / (1 + a))
        # Arguments swapped: the weights are the predicted shares.
        assert swapped_f1(of).item() == pytest.approx(2 * a / (1 + a))


@pytest.mark.parametrize(
    ("acc", "f1", "swapped"),
    [(0.6285, 0.4851, 0.7719), (0.7102, 0.5899, 0.8306), (0.6937, 0.5682, 0.8191)],
)
def test_constant_predictors_in_the_tables_of_lnln_have_the_documented_f1(acc, f1, swapped):
    """Language missing on MOSEI and SIMS: most rows print the first F1, LNLN's and ALMT's the second."""
    of = classes_of([[0, round(1e4 * (1 - acc))], [0, round(1e4 * acc)]])
    assert weighted_f1(of).item() == pytest.approx(f1, abs=1.5e-4)
    assert swapped_f1(of).item() == pytest.approx(swapped, abs=1.5e-4)


@pytest.mark.parametrize("value", [0.1, -0.3, 0.0, 7.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_correlation_of_a_constant_predictor_is_undefined(family, value):
    label = np.linspace(-1, 1, 686)
    values = score(np.full(686, value), label, family=family)
    assert np.isnan(values["corr"])
    assert values["majority_share_2"] == 1


def test_sims_predictions_that_are_constant_once_clipped_have_no_correlation():
    assert np.isnan(score([1.5, 2.0, 9.0], [0.1, 0.2, 0.3], family="sims")["corr"])


def test_labels_that_are_all_zero_leave_neg_pos_undefined():
    values = score([0.3, -0.4], [0.0, -0.0], family="mosi")
    assert np.isnan(values["acc2_negpos"])
    assert np.isnan(values["f1_negpos"])
    assert values["acc2_nonneg"] == 0.5


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_an_error(bad):
    with pytest.raises(ElisionError, match="prediction of sample number 1"):
        score([0.1, bad], [0.1, 0.2], family="mosi")
    with pytest.raises(ElisionError, match="label of sample number 0"):
        score([0.1, 0.2], [bad, 0.2], family="sims")


@pytest.mark.parametrize(("prediction", "label"), [([], []), ([1.0], [1.0, 2.0])])
def test_nothing_to_compare_is_an_error(prediction, label):
    with pytest.raises(ElisionError, match="give one prediction per label"):
        score(prediction, label, family="mosi")


def test_shapes_are_flattened():
    label = np.array([[0.3], [-1.0]])
    assert score(label, label.ravel(), family="mosi")["mae"] == 0


@pytest.mark.parametrize("family", [*FAMILIES, EMOTION])
def test_every_metric_is_described_and_every_reported_one_computed(family):
    found = family_of(family)
    computed = score([0, 1], [1, 0], family=family)
    assert all(metric(name).description for name in computed)
    assert {*found.reported, *found.per_class, found.f1, found.second, found.selection[0]} <= set(computed)
    assert set(found.selected_by) == {*found.reported, *found.per_class, *found.swapped}
    assert set(found.checkpoints) == set(found.selected_by.values()) <= set(found.reported)
    assert set(found.confusions) <= set(found.reported)
    for share, names in found.confusions.items():
        assert share.partition("majority_share_")[2] in ("", str(len(names)))


def test_columns_stand_in_the_order_of_papers():
    mosi = ("acc7", "acc5", "acc2_negpos", "f1_negpos", "acc2_nonneg", "f1_nonneg", "mae", "corr")
    assert family_of("mosi").reported == (*mosi, "majority_share_7", "majority_share_2", "entropy_7", "entropy_2")
    sims = ("acc5", "acc3", "acc2", "f1", "mae", "corr")
    assert family_of("sims").reported == (*sims, "majority_share_5", "majority_share_2", "entropy_5", "entropy_2")
    emotion = ("wa", "ua", "f1_weighted", "f1_macro", "majority_share", "entropy")
    assert family_of(EMOTION).reported == emotion
    assert family_of("mosi").compared == ("f1_negpos", "mae", "corr")
    assert family_of("sims").compared == ("f1", "mae", "corr")
    assert family_of(EMOTION).compared == ("f1_weighted", "ua")


def test_many_conditions_at_once_are_each_as_alone():
    random = np.random.default_rng(3)
    label = random.uniform(-3, 3, 50).round(1)
    prediction = np.concatenate([label + random.normal(0, 1, (3, 50)), np.full((1, 50), 0.4)])
    found = weighted(prediction, label, "mosi", weights=Once())
    for k, row in enumerate(prediction):
        alone = score(row, label, "mosi", protocol="lnln")
        assert {name: round(values[0, k], 4) for name, values in found.items()} == pytest.approx(alone, nan_ok=True)


def test_an_unknown_family_is_an_error():
    with pytest.raises(KeyError, match="emotion"):
        family_of("emotion")


def test_what_chooses_checkpoints_is_the_error_of_scores_and_the_recall_of_classes():
    assert family_of("mosi").selection == family_of("sims").selection == ("mae", False)
    assert family_of("mosi").error({"mae": 0.7, "ua": 0.2}) == 0.7
    assert family_of(EMOTION).selection == ("ua", True)
    assert family_of(EMOTION).error({"mae": 0.7, "ua": 0.25}) == 0.75


def test_checkpoints_on_test_are_those_of_the_official_code():
    assert family_of("mosi").checkpoints == {
        "acc2_nonneg": True,
        "acc2_negpos": True,
        "acc5": True,
        "acc7": True,
        "mae": False,
    }
    assert family_of("sims").checkpoints == {"acc2": True, "acc3": True, "acc5": True, "mae": False}
    assert family_of(EMOTION).checkpoints == dict.fromkeys(("wa", "ua", "f1_weighted", "f1_macro"), True)


def test_the_name_of_an_emotion_family_holds_its_classes_in_order():
    classes = ["neutral", "happy", "sehr traurig"]
    assert family_of(emotion_family_name(classes)).labels == tuple(classes)
    assert metric("f1_binary_pos.sehr traurig").name == "F1 sehr traurig"
    assert metric("f1_binary_weighted.a.b").name == "F1 a.b/rest"


@pytest.mark.parametrize("classes", [[], ["one"], ["a", "b,c"], ["a:b", "c"], ["a", ""], ["a", "b", "a"]])
def test_class_names_that_the_name_of_a_family_cannot_hold_are_an_error(classes):
    with pytest.raises(ElisionError, match="class name"):
        emotion_family_name(classes)


def test_emotion_values_worked_by_hand():
    happy, angry, sad, neutral = range(4)
    label = [happy, happy, happy, happy, angry, angry, sad, sad]
    prediction = [happy, happy, happy, angry, angry, neutral, happy, sad]
    values = score(prediction, label, family=EMOTION)
    assert values["wa"] == pytest.approx(5 / 8)
    assert values["ua"] == pytest.approx((3 / 4 + 1 / 2 + 1 / 2) / 3)  # no sample is neutral
    f1 = [2 * 3 / (4 + 4), 2 * 1 / (2 + 2), 2 * 1 / (2 + 1), 0]
    assert values["f1_weighted"] == pytest.approx((4 * f1[0] + 2 * f1[1] + 2 * f1[2]) / 8)
    assert values["f1_macro"] == pytest.approx(sum(f1) / 4)
    assert values["majority_share"] == pytest.approx(4 / 8)
    assert [values[f"f1_binary_pos.{name}"] for name in ("happy", "angry", "sad", "neutral")] == pytest.approx(f1)
    # angry: true against the rest 2 to 6, predicted 2 to 6, one of them right, and five of the rest
    assert values["f1_binary_weighted.angry"] == pytest.approx((2 * (2 / 4) + 6 * (10 / 12)) / 8)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
@pytest.mark.filterwarnings("ignore")
def test_emotion_metrics_equal_those_of_sklearn(pairs):
    label, prediction = np.array(pairs).T
    values = score(prediction, label, family=EMOTION)
    assert values["wa"] == pytest.approx(sklearn.accuracy_score(label, prediction))
    assert values["ua"] == pytest.approx(sklearn.balanced_accuracy_score(label, prediction))
    for average in ("weighted", "macro"):
        expected = sklearn.f1_score(label, prediction, average=average, zero_division=0)
        assert values[f"f1_{average}"] == pytest.approx(expected)
    assert values["majority_share"] == pytest.approx(np.bincount(prediction).max() / len(label))
    for number, name in enumerate(("happy", "angry", "sad", "neutral")):
        binary = label == number, prediction == number
        expected = sklearn.f1_score(*binary, average="weighted", zero_division=0)
        assert values[f"f1_binary_weighted.{name}"] == pytest.approx(expected)
        positive = values[f"f1_binary_pos.{name}"]
        assert np.isnan(positive) == (not np.any(binary))
        assert np.isnan(positive) or positive == pytest.approx(sklearn.f1_score(*binary, zero_division=0))


@given(st.lists(st.integers(0, 30), min_size=9, max_size=9), st.integers(0, 2))
def test_a_class_against_the_rest_keeps_every_sample(cells, number):
    of = classes_of(np.reshape(cells, (3, 3)))
    rest = of.against_rest(number)
    plain = Classes(rest.prediction, rest.label, 2, Once())
    for name in ("size", "right", "found", "true", "predicted"):
        assert np.array_equal(getattr(rest, name), getattr(plain, name))
    assert rest.size == of.size
    assert rest.true[1] == of.true[number] and rest.predicted[1] == of.predicted[number]


def test_many_classes_in_small_integers_do_not_overflow():
    name = emotion_family_name([f"c{i}" for i in range(100)])
    numbers = np.arange(100, dtype=np.int8)
    assert score(numbers, numbers, family=name)["wa"] == 1
    assert score(numbers[::-1], numbers, family=name)["ua"] == 0


@pytest.mark.parametrize("bad", [-1, 4, 0.5, np.nan])
def test_a_number_that_is_no_class_is_an_error(bad):
    with pytest.raises(ElisionError, match=r"prediction of sample number 1 is .*; classes are numbers from 0 to 3"):
        score([0, bad], [0, 1], family=EMOTION)
    with pytest.raises(ElisionError, match="label of sample number 0"):
        score([0, 1], [bad, 1], family=EMOTION)
