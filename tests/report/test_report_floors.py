import pandas as pd
import pytest
from report_results import results

from elision.evaluation.metrics import family
from elision.report.floors import below_floors

COMPLETE, LOSSY = "Below a floor, complete data", "Below a floor, mean over 2 missing rates"
ALL = ["text", "audio", "vision"]


def facts(values, records=None, of="mosi", levels=(0.0, 0.5)):
    """Findings about rows with values {row: {metric: value on complete data, value at r = 0.5}}."""
    rows = [
        ("d", of, row, "seed-1", corruption, level, "audio" if level else "", metric, value)
        for row, metrics in values.items()
        for metric, pair in metrics.items()
        for corruption, level, value in zip(("random", "random"), levels, pair, strict=True)
    ]
    columns = ["dataset", "family", "method", "run", "corruption", "level", "modalities", "metric", "value"]
    table = pd.DataFrame(rows, columns=columns).assign(checkpoint="valid", protocol="elision", seed=1, fold=0)
    return below_floors(results(table, records=records or {}), "d")


def record(method, modalities=ALL, held=("text", "audio", "vision", "text_features")):
    return {"method": method, "hyperparameters": {"modalities": modalities}, "sequences": dict.fromkeys(held)}


def recorded(**methods):
    return {("d", name, "seed-1"): each for name, each in methods.items()}


def both(f1, mae, corr=0.5):
    """The same on complete and on incomplete data."""
    return {family("mosi").f1: (f1, f1), "mae": (mae, mae), "corr": (corr, corr)}


def test_the_two_main_metrics_are_told_with_numbers_and_the_others_by_name():
    found = facts({"men": both(0.61, 1.192, 0.1), "majority": both(0.4, 1.056), "linear_probe": both(0.65, 1.1)})
    assert found[COMPLETE] == [
        "men: F1 neg/pos 61.00 is worse than 65.00 of linear_probe; MAE 1.192 is worse than 1.056 of majority; also "
        "worse in Corr.",
        "linear_probe: MAE 1.100 is worse than 1.056 of majority.",
    ]


def test_a_method_above_all_floors_is_not_named_and_what_prints_the_same_is_not_worse():
    values = {"men": both(0.65, 1.0), "majority": both(0.4, 1.156), "linear_probe": both(0.650001, 1.1)}
    assert facts(values)[COMPLETE] == ["No method is below linear_probe or majority."]


def test_without_a_floor_or_with_nothing_else_nothing_is_said():
    assert facts({"men": both(0.6, 1.0), "mmin": both(0.5, 1.0)}) == {}
    assert facts({"majority": both(0.6, 1.0)}) == {}


def test_complete_data_and_the_mean_over_the_rates_are_told_apart():
    falls = {family("mosi").f1: (0.7, 0.1), "mae": (1.0, 1.0)}
    values = {"men": falls, "majority": both(0.5, 1.5)}
    found = facts(values)
    assert found[COMPLETE] == ["No method is below majority."]
    assert found[LOSSY] == ["men: F1 neg/pos 40.00 is worse than 50.00 of majority."]


def test_a_row_is_a_floor_by_its_method_whatever_its_name():
    records = recorded(mine=record("mmin"), ridge=record("linear_probe"), linear_probe=record("mmin"))
    values = {"mine": both(0.5, 1.0), "ridge": both(0.6, 1.0), "linear_probe": both(0.7, 1.0)}
    assert facts(values, records)[COMPLETE] == ["mine: F1 neg/pos 50.00 is worse than 60.00 of ridge."]


def test_floors_are_compared_with_the_constant_alone():
    values = {"late_fusion": both(0.5, 1.5), "linear_probe": both(0.6, 1.0), "majority": both(0.4, 1.2)}
    assert facts(values)[COMPLETE] == ["late_fusion: MAE 1.500 is worse than 1.200 of majority."]


@pytest.mark.parametrize(
    ("seen", "named"), [(ALL, True), (["audio"], False), (["text", "audio"], False)], ids=["all", "one", "two"]
)
def test_a_method_that_sees_less_than_a_floor_is_not_below_it(seen, named):
    records = recorded(mine=record("mmin", seen), linear_probe=record("linear_probe"))
    found = facts({"mine": both(0.5, 1.0), "linear_probe": both(0.6, 1.0)}, records)
    assert found.get(COMPLETE) == (["mine: F1 neg/pos 50.00 is worse than 60.00 of linear_probe."] if named else None)


def test_the_constant_is_a_floor_of_every_method():
    records = recorded(mine=record("mmin", ["audio"]), majority=record("majority"))
    found = facts({"mine": both(0.5, 1.0), "majority": both(0.6, 1.0)}, records)[COMPLETE]
    assert found == ["mine: F1 neg/pos 50.00 is worse than 60.00 of majority."]


def test_on_incomplete_text_a_floor_that_reads_vectors_is_not_compared_with_a_method_that_reads_tokens():
    values = {"lnln": both(0.5, 1.0), "mmin": both(0.5, 1.0), "linear_probe": both(0.6, 1.0)}
    found = facts(values)
    assert len(found[COMPLETE]) == 2
    assert found[LOSSY] == [
        "mmin: F1 neg/pos 50.00 is worse than 60.00 of linear_probe.",
        "On incomplete data, methods that read text as tokens are not compared with floors that read vectors of the "
        "complete text.",
    ]


def test_without_text_how_it_is_read_does_not_matter():
    held = ("audio", "vision")
    records = recorded(lnln=record("lnln", held=held), linear_probe=record("linear_probe", held=held))
    found = facts({"lnln": both(0.5, 1.0), "linear_probe": both(0.6, 1.0)}, records)
    assert found[LOSSY] == ["lnln: F1 neg/pos 50.00 is worse than 60.00 of linear_probe."]


def test_a_method_that_reads_tokens_sees_no_text_where_a_dataset_has_vectors_alone():
    held = ("audio", "vision", "text_features")
    records = recorded(lnln=record("lnln", held=held), linear_probe=record("linear_probe", held=held))
    assert facts({"lnln": both(0.5, 1.0), "linear_probe": both(0.6, 1.0)}, records) == {}


def test_an_undefined_value_is_not_compared():
    constant = {**both(0.4, 1.0), "corr": (float("nan"), float("nan"))}
    found = facts({"men": both(0.6, 0.9), "majority": constant})
    assert found[COMPLETE] == ["No method is below majority."]
