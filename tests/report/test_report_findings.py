import numpy as np
import pandas as pd
import pytest
from report_results import COMPARISONS, INTERVALS, frame, results

from elision.evaluation.aggregate import FLOOR
from elision.report.findings import findings

METHODS = ["a", "b", "c", FLOOR]
RATES = (0.0, 0.5, 0.9)


def metrics(f1, share=0.3, absent=()):
    """Metrics of one seed: F1 by method at ``RATES``; and of sets of absent modalities."""
    rows = []
    for method, values in f1.items():
        for level, value in zip(RATES, values, strict=True):
            shares = share if isinstance(share, float) else share[method][RATES.index(level)]
            rows += [
                (method, "random", level, "", m, v)
                for m, v in (("f1", value), ("mae", 0.5), ("majority_share_5", shares))
            ]
        rows += [(method, "absent", float(name != ""), name, "f1", value) for name, value in dict(absent).items()]
    table = pd.DataFrame(rows, columns=["method", "corruption", "level", "modalities", "metric", "value"])
    same = {"dataset": "d", "family": "sims", "run": "seed-1", "seed": 1, "fold": "", "checkpoint": "valid"}
    return table.assign(**same, protocol="elision")


def compared(*rows):
    """Comparisons of the mean over rates: method, other, low, high and p, corrected."""
    same = {"dataset": "d", "corruption": "mean_random", "metric": "f1", "confidence": 0.95}
    return (
        pd.DataFrame(rows, columns=["method", "other", "low_holm", "high_holm", "p_holm"])
        .assign(**same)
        .reindex(columns=COMPARISONS)
    )


def found(table, **others):
    source = results(table, **others)
    (strong, rest), facts = findings(
        source, "d", frames={name: frame(name, source, METHODS) for name in ("per_rate", "absent")}
    )
    return f"**{strong}** {rest}".strip(), {name: " ".join(sentences) for name, sentences in facts}


CLEAR = {"a": (0.9, 0.8, 0.7), "b": (0.8, 0.7, 0.3), "c": (0.7, 0.3, 0.2), FLOOR: (0.3, 0.3, 0.3)}


def test_the_best_is_named_with_its_lead_over_the_floor():
    lead, _ = found(metrics(CLEAR))
    assert lead == (
        "**a has the best mean; whether the difference is significant is unknown.** On average over 3 missing rates, a "
        "has F1 80.00 %, 50.00 points above majority, the floor."
    )


def test_the_lead_names_one_method_as_best_only_if_every_other_one_is_told_apart():
    clear = ("a", "c", 0.3, 0.5, 0.0004)
    lead, _ = found(metrics(CLEAR), comparisons=compared(("a", "b", 0.1, 0.25, 0.0004), clear))
    assert lead.startswith("**a is significantly best.** On average over 3 missing rates, a has F1 80.00 %")
    for pair in (("a", "b", -0.01, 0.25, 0.07), ("b", "a", -0.25, 0.01, 0.07)):
        lead, _ = found(metrics(CLEAR), comparisons=compared(pair, clear))
        assert lead.startswith("**No method is significantly best: a, b.** On average over 3 missing rates, a has F1 ")
    lead, _ = found(metrics(CLEAR), comparisons=compared(("a", "b", -0.1, 0.2, 1.0), ("c", "a", -0.5, 0.5, 1.0)))
    assert lead.startswith("**No method is significantly best: a, b, c.**")
    # One that could not be tested is not known to be worse.
    lead, _ = found(metrics(CLEAR), comparisons=compared(clear))
    assert lead.startswith("**No method is significantly best: a, b.**")


def test_the_level_of_significance_is_that_of_the_intervals():
    pairs = compared(("a", "b", 0.01, 0.25, 0.07), ("a", "c", 0.3, 0.5, 0.0004))
    lead, facts = found(metrics(CLEAR), comparisons=pairs.assign(confidence=0.9))
    assert lead.startswith("**a is significantly best.**")
    assert "significant (p = 0.070, 90 % interval 1.00 to 25.00 points, both after" in facts["Runner-up"]


def test_the_lead_names_few_methods_and_counts_the_others():
    values = {f"m{i}": (0.9 - i / 100, 0.8, 0.7) for i in range(9)} | {FLOOR: (0.3, 0.3, 0.3)}
    pairs = compared(*(("m0", f"m{i}", -0.1, 0.2, 1.0) for i in range(1, 9)))
    lead, _ = found(metrics(values), comparisons=pairs)
    assert lead.startswith("**No method is significantly best: m0, m1, m2, m3, m4, 4 other methods.**")


MADE = {"seeds": 3, "samples": 853, "asked": "speaker", "asked_clusters": 31, "cluster": "speaker", "clusters": 31}


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({}, None),
        (
            {"asked_clusters": 2, "cluster": "dialogue"},
            "speaker has 2 clusters in the test split; the statistics resample 31 dialogues instead. The intervals do "
            "not say how much the choice of speaker matters.",
        ),
        (
            {"asked_clusters": 0, "cluster": "utterance", "clusters": 853, "freedom": 852},
            "speaker is unknown for some or all test samples; the statistics resample 853 utterances instead.",
        ),
        ({"clusters": 12, "freedom": 11}, "12 speakers in the test split: a small number, so the intervals are wide."),
        (
            {"clusters": 47, "freedom": 5.1},
            "Utterances are spread unevenly over 47 speakers, which count as 6 of equal size: the intervals are wide.",
        ),
        ({"samples": 80}, "80 samples in the test split: a small number, one sample is 1.25 points of accuracy."),
        ({"seeds": 1}, "One seed: the variation between trainings is unknown."),
    ],
)
def test_the_lead_card_says_what_the_numbers_do_not_cover(made, said):
    table = metrics(CLEAR)
    rows = table[table["metric"] == "f1"].assign(confidence=0.95, **{"freedom": 30, **MADE, **made})
    _, facts = found(table, intervals=rows.reindex(columns=INTERVALS))
    assert facts.get("Limits") == said


def test_levels_at_which_nothing_is_left_of_many_samples_are_in_no_mean_and_the_card_says_so():
    table = metrics(CLEAR)
    table = table.assign(empty=table["level"].map({0.0: 0.0, 0.5: 0.125, 0.9: 0.729}))
    lead, facts = found(table)
    assert "over 1 missing rate" in lead and "90.00 %" in lead
    assert facts["Empty samples"] == (
        "At r = 0.5, 0.9, 12 to 73 % of the samples have nothing left, of any modality. "
        "No mean over missing rates includes these missing rates."
    )
    _, facts = found(table.assign(empty=0.1))
    assert "Empty samples" not in facts
    lead, facts = found(table.assign(empty=0.5))
    assert "over 3 missing rates" in lead
    assert facts["Empty samples"] == "At every missing rate, 50 % of the samples have nothing left, of any modality."


@pytest.mark.parametrize("turned", [False, True])
def test_the_difference_to_the_second_is_told_with_its_p_value_whichever_way_round_it_stands(turned):
    pair = ("b", "a", -0.25, -0.1, 0.0004) if turned else ("a", "b", 0.1, 0.25, 0.0004)
    _, facts = found(metrics(CLEAR), comparisons=compared(pair, ("a", "c", 0.3, 0.5, 0.0004)))
    assert facts["Runner-up"] == (
        "b, 20.00 points behind: significant (p < 0.001, 95 % interval 10.00 to 25.00 points, both after Holm's "
        "correction). "
        "a is significantly better than all 2 other methods."
    )


def test_a_difference_that_may_be_chance_is_not_significant_and_all_such_methods_are_named():
    pairs = compared(("a", "b", -0.01, 0.25, 0.05), ("a", "c", -0.02, 0.5, 0.9), ("a", FLOOR, 0.4, 0.6, 0.001))
    _, facts = found(metrics(CLEAR), comparisons=pairs)
    assert "b, 20.00 points behind: not significant (p = 0.050, " in facts["Runner-up"]
    assert facts["Runner-up"].endswith("No significant difference from a (of 2 methods): b and c.")


def test_without_a_p_value_nothing_is_called_significant():
    for comparisons in (compared(), compared(("a", "b", np.nan, np.nan, np.nan))):
        _, facts = found(metrics(CLEAR), comparisons=comparisons)
        assert facts["Runner-up"] == "b, 20.00 points behind."


def test_equal_methods_are_equal():
    _, facts = found(metrics({**CLEAR, "b": CLEAR["a"]}))
    assert facts["Runner-up"] == "b, with the same printed value."


def test_one_method_has_no_runner_up_and_the_floor_alone_no_findings():
    _, facts = found(metrics({"a": CLEAR["a"], FLOOR: CLEAR[FLOOR]}))
    assert "Runner-up" not in facts
    assert facts["Down to majority"].startswith("At no rate: a.")
    assert found(metrics({FLOOR: CLEAR[FLOOR]})) == ("**No method was evaluated with incomplete data.**", {})


def test_a_method_without_a_defined_mean_is_not_ranked():
    lead, facts = found(metrics({**CLEAR, "a": (0.9, np.nan, 0.7)}))
    assert lead.startswith("**b has the best mean")
    assert facts["Runner-up"].startswith("c, ")


def test_when_no_method_is_above_the_floor_that_is_what_leads():
    lead, _ = found(metrics({"a": (0.2, 0.2, 0.2), FLOOR: (0.3, 0.3, 0.3)}))
    assert lead == (
        "**No method is above the floor.** On average over 3 missing rates, a has F1 20.00 %, 10.00 points below "
        "majority, the floor."
    )


def test_without_floor_nothing_is_compared_with_it():
    lead, facts = found(metrics({"a": CLEAR["a"]}))
    assert lead.endswith("majority, the floor, was not evaluated.")
    assert "Down to majority" not in facts


def test_what_is_lost_with_the_rate_and_without_a_modality():
    sets = {"": 0.9, "text": 0.4, "audio": 0.8, "vision": 0.85, "text+audio": 0.1}
    _, facts = found(metrics(CLEAR, absent=sets))
    assert facts["Loss"] == (
        "From r = 0 to r = 0.9, a loses 20.00 points. Without text, a loses 50.00 points, more than without any other "
        "single modality."
    )
    _, facts = found(metrics({**CLEAR, "a": (0.7, 0.8, 0.9)}, absent={"": 0.5, "text": 0.6}))
    assert facts["Loss"] == "From r = 0 to r = 0.9, a gains 20.00 points."


def test_methods_come_down_to_the_floor_where_their_means_or_if_known_their_intervals_do():
    table = metrics(CLEAR)
    _, facts = found(table)
    assert facts["Down to majority"] == (
        "At r = 0.5: c. At r = 0.9: b. At no rate: a. At this rate, mean F1 is first not above the F1 of majority."
    )
    rows = table[(table["metric"] == "f1")]
    wide = rows.assign(
        low=rows["value"] - 0.45, high=rows["value"] + 0.45, confidence=0.95, **MADE, freedom=30
    ).reindex(columns=INTERVALS)
    _, facts = found(table, intervals=wide)
    assert facts["Down to majority"].startswith(
        "At r = 0: c. At r = 0.5: b. At r = 0.9: a. At this rate, the 95 % interval"
    )
    _, unknown = found(table, intervals=wide.assign(low=np.nan))
    assert unknown["Down to majority"].startswith("At r = 0.5: c.")


def test_lazy_is_who_gives_one_class_from_some_rate_on():
    shares = {"a": (0.3, 0.4, 0.6), "b": (0.96, 0.9, 0.9), "c": (0.5, 0.97, 1.0), FLOOR: (1.0, 1.0, 1.0)}
    _, facts = found(metrics(CLEAR, share=shares))
    assert facts["Lazy behaviour"] == "c: 95 % or more of the predictions are one of 5 classes from r = 0.5 upwards."
    _, facts = found(metrics(CLEAR, share={**shares, "c": (0.5, 0.6, 0.4)}))
    assert facts["Lazy behaviour"] == (
        "For no method, 95 % or more of the predictions are one of 5 classes. The highest share is 96.00 % (b at "
        "r = 0)."
    )


def test_without_missing_rates_the_incomplete_cases_are_ranked():
    table = metrics({"a": (0.9, 0.5, 0.7), FLOOR: (0.3, 0.3, 0.3)})
    sets = dict(zip(RATES, ("", "text", "audio"), strict=True))
    lead, _ = found(table.assign(corruption="absent", modalities=table["level"].map(sets)))
    assert lead.endswith(
        "On average over 2 incomplete cases, a has F1 60.00 %, 30.00 points above majority, the floor."
    )
