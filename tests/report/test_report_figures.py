import re
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from elision.evaluation.aggregate import FLOOR
from elision.report import figures


def lines(figure):
    """Data of the drawn curves, by label."""
    return {line.get_label(): line for line in figure.axes[0].get_lines()}


def test_curves_are_the_means_over_runs_in_percent(metrics, methods):
    figure = figures.curve(metrics, dataset="mosi_data", metric="f1_negpos", methods=methods)
    chosen = metrics.query("dataset == 'mosi_data' and method == 'steady' and corruption == 'random'")
    means = chosen[chosen["metric"] == "f1_negpos"].groupby("level")["value"].mean()
    drawn = lines(figure)["steady"]
    assert drawn.get_xdata() == pytest.approx(means.index)
    assert drawn.get_ydata() == pytest.approx(100 * means.to_numpy())
    mae = lines(figures.curve(metrics, dataset="mosi_data", metric="mae", methods=methods))["steady"]
    assert mae.get_ydata() == pytest.approx(chosen[chosen["metric"] == "mae"].groupby("level")["value"].mean())


def test_bands_are_one_sample_standard_deviation_wide(metrics, methods):
    figure = figures.curve(metrics, dataset="mosi_data", metric="mae", methods=["steady"])
    chosen = metrics.query(
        "dataset == 'mosi_data' and method == 'steady' and corruption == 'random' and metric == 'mae'"
    )
    at = chosen[chosen["level"] == 0.4]["value"]
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    edges = band[np.isclose(band[:, 0], 0.4), 1]
    assert edges.max() - edges.min() == pytest.approx(2 * at.std(ddof=1))


def test_one_run_has_no_band(single, methods):
    figure = figures.curve(single, dataset="mosi_data", metric="mae", methods=methods)
    assert not figure.axes[0].collections
    assert len(lines(figure)) == 3


def test_every_method_has_a_look_of_its_own_and_the_floor_is_dashed(metrics):
    looks = [figures._look(i) for i in range(72)]
    assert len({(look["color"], look["marker"], look["linestyle"]) for look in looks}) == 72
    assert len({look["color"] for look in looks[:6]}) == len({look["marker"] for look in looks[:6]}) == 6
    drawn = lines(figures.curve(metrics, dataset="sims_data", metric="f1", methods=["steady"]))
    assert drawn[FLOOR].get_linestyle() == "--"
    assert drawn["steady"].get_linestyle() != "--"


def test_absent_modalities_stand_in_order_with_the_complete_data_first(metrics, methods):
    figure = figures.absent(metrics, dataset="mosi_data", metric="f1_negpos", methods=methods)
    names = [label.get_text().replace("\n", " ") for label in figure.axes[0].get_xticklabels()]
    assert names == ["nothing", "text", "audio", "vision", "text + audio", "text + vision", "audio + vision"]


def test_confusion_matrices_hold_the_counts_summed_over_runs(counted):
    figure = figures.confusion(counted, dataset="mosi_data", method="brittle_one")
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == ["r = 0", "r = 0.1", "r = 0.5", "r = 0.9"] * 2
    for axes in panels:
        assert sum(int(text.get_text()) for text in axes.texts) == 2 * 60
    shares = np.asarray(panels[3].collections[0].get_array()).reshape(7, 7)
    assert shares.sum(1) == pytest.approx(np.ones(7))
    assert (shares.max(1) == 1).all()  # one answer at r = 0.9


def test_what_was_not_evaluated_gives_a_figure_that_says_so(metrics, counted, methods):
    none = metrics.iloc[:0]
    for figure in (
        figures.curve(none, dataset="mosi_data", metric="mae", methods=methods),
        figures.absent(none, dataset="mosi_data", metric="mae", methods=methods),
        figures.confusion(counted[counted["level"] == 7], dataset="mosi_data", method="steady"),
    ):
        assert "evaluated" in figure.texts[0].get_text()


def test_figures_of_checkpoints_chosen_on_test_say_so(metrics_on_test, metrics, methods):
    for draw in (figures.curve, figures.absent):
        marked = figures.svg(draw(metrics_on_test, dataset="mosi_data", metric="f1_negpos", methods=methods))
        assert "Checkpoints chosen on the TEST set" in marked
        assert "TEST" not in figures.svg(draw(metrics, dataset="mosi_data", metric="f1_negpos", methods=methods))


def test_files_are_valid_and_the_same_bytes_whatever_the_users_settings(metrics, methods, tmp_path):
    contents = []
    for name, settings in (("first", {}), ("second", {"font.size": 20, "lines.linewidth": 9})):
        with matplotlib.rc_context(settings):
            figure = figures.curve(metrics, dataset="sims_data", metric="f1", methods=methods)
            text = figures.write(figure, tmp_path / name)
        contents.append([(tmp_path / f"{name}.{ending}").read_bytes() for ending in ("svg", "png")])
        assert contents[-1][0].decode() == text
    assert contents[0] == contents[1]
    ElementTree.fromstring(contents[0][0])
    assert imread(tmp_path / "first.png").shape[2] == 4
    assert not re.search(rb"Software|matplotlib v|<dc:date|20\d\d-\d\d-\d\d", b"".join(contents[0]))


def test_a_dollar_sign_in_a_name_is_no_formula(metrics):
    renamed = metrics.assign(method=metrics["method"].replace("steady", "$a_1$ & <b>"))
    text = figures.svg(figures.curve(renamed, dataset="sims_data", metric="f1", methods=["$a_1$ & <b>"]))
    assert "$a_1$ &amp; &lt;b&gt;" in text


def test_each_class_has_a_panel_with_its_f1_against_the_rest(metrics, methods):
    figure = figures.class_curves(metrics, dataset="emotion_data", methods=methods)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        f"F1 {name}/rest ↑" for name in ("happy", "angry", "sad", "neutral")
    ]
    chosen = metrics.query(
        "dataset == 'emotion_data' and method == 'steady' and corruption == 'random' and fold != 'pooled'"
    )
    means = chosen[chosen["metric"] == "f1_binary_weighted.sad"].groupby("level")["value"].mean()
    drawn = {line.get_label(): line for line in figure.axes[2].get_lines()}
    assert list(drawn) == methods
    assert drawn["steady"].get_ydata() == pytest.approx(100 * means.to_numpy())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == methods


@pytest.mark.parametrize("count", [2, 3, 6])
def test_any_number_of_classes_has_as_many_panels(metrics, methods, count):
    names = ["happy", "angry", "sad", "neutral", "worried", "surprise"][:count]
    source = metrics[metrics["dataset"] == "emotion_data"].assign(family=f"emotion:{','.join(names)}")
    more = [
        source[source["metric"] == "f1_binary_weighted.sad"].assign(metric=f"f1_binary_weighted.{name}")
        for name in names[4:]
    ]
    figure = figures.class_curves(pd.concat([source, *more]), dataset="emotion_data", methods=methods)
    assert len(figure.axes) == count


def test_the_confusion_of_classes_is_one_row_with_their_names(counted):
    figure = figures.confusion(counted, dataset="emotion_data", method="steady")
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == ["r = 0", "r = 0.1", "r = 0.5", "r = 0.9"]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["happy", "angry", "sad", "neutral"]
    for axes in panels:
        assert sum(int(text.get_text()) for text in axes.texts) == 2 * 2 * 30  # two seeds, two folds


def test_without_random_missing_the_panels_of_classes_say_so(metrics, methods):
    absent = metrics[metrics["corruption"] == "absent"]
    assert "evaluated" in figures.class_curves(absent, dataset="emotion_data", methods=methods).texts[0].get_text()
