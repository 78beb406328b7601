import re
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from report_results import draw, results
from threadpoolctl import threadpool_limits

from elision.evaluation.aggregate import FLOOR
from elision.report import FORMATS, drawing
from elision.report.figures import representations


def lines(figure):
    """Data of the drawn curves, by label."""
    return {line.get_label(): line for line in figure.axes[0].get_lines()}


def test_curves_are_the_means_over_runs_in_percent(metrics, methods):
    figure = draw("curve_f1", results(metrics), "mosi_data", methods)
    chosen = metrics.query("dataset == 'mosi_data' and method == 'steady' and corruption == 'random'")
    means = chosen[chosen["metric"] == "f1_negpos"].groupby("level")["value"].mean()
    drawn = lines(figure)["steady"]
    assert drawn.get_xdata() == pytest.approx(means.index)
    assert drawn.get_ydata() == pytest.approx(100 * means.to_numpy())
    mae = lines(draw("curve_mae", results(metrics), "mosi_data", methods))["steady"]
    assert mae.get_ydata() == pytest.approx(chosen[chosen["metric"] == "mae"].groupby("level")["value"].mean())


def test_bands_are_one_sample_standard_deviation_wide(metrics, methods):
    figure = draw("curve_mae", results(metrics), "mosi_data", ["steady"])
    chosen = metrics.query(
        "dataset == 'mosi_data' and method == 'steady' and corruption == 'random' and metric == 'mae'"
    )
    at = chosen[chosen["level"] == 0.4]["value"]
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    edges = band[np.isclose(band[:, 0], 0.4), 1]
    assert edges.max() - edges.min() == pytest.approx(2 * at.std(ddof=1))


def test_one_run_has_no_band(single, methods):
    figure = draw("curve_mae", results(single), "mosi_data", methods)
    assert not figure.axes[0].collections
    assert len(lines(figure)) == 3


def test_every_method_has_a_look_of_its_own_and_the_floor_is_dashed(metrics):
    looks = [drawing.look(i) for i in range(72)]
    assert len({(look["color"], look["marker"], look["linestyle"]) for look in looks}) == 72
    assert len({look["color"] for look in looks[:6]}) == len({look["marker"] for look in looks[:6]}) == 6
    drawn = lines(draw("curve_f1", results(metrics), "sims_data", ["steady"]))
    assert drawn[FLOOR].get_linestyle() == "--"
    assert drawn["steady"].get_linestyle() != "--"


def test_absent_modalities_stand_in_order_with_the_complete_data_first(metrics, methods):
    figure = draw("absent", results(metrics), "mosi_data", methods)
    names = [label.get_text().replace("\n", " ") for label in figure.axes[0].get_xticklabels()]
    assert names == [
        "nothing",
        "text (audio, vision)",
        "audio (text, vision)",
        "vision (text, audio)",
        "text + audio (vision)",
        "text + vision (audio)",
        "audio + vision (text)",
    ]


def test_confusion_matrices_hold_the_counts_summed_over_runs(metrics, counted):
    figure = draw("confusion", results(metrics, confusions=counted).only(["brittle_one"]), "mosi_data", ["brittle_one"])
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
        draw("curve_mae", results(none), "mosi_data", methods),
        draw("absent", results(none), "mosi_data", methods),
        draw(
            "confusion",
            results(metrics, confusions=counted[counted["level"] == 7]).only(["steady"]),
            "mosi_data",
            ["steady"],
        ),
    ):
        assert "evaluated" in figure.texts[0].get_text()


def test_figures_of_checkpoints_chosen_on_test_say_so(metrics_on_test, metrics, methods):
    for name in ("curve_f1", "absent"):
        marked = drawing.svg(draw(name, results(metrics_on_test), "mosi_data", methods))
        assert "Checkpoints chosen on the TEST set" in marked
        assert "TEST" not in drawing.svg(draw(name, results(metrics), "mosi_data", methods))


def test_files_are_valid_and_the_same_bytes_whatever_the_users_settings(metrics, methods, tmp_path):
    contents = []
    for name, settings in (("first", {}), ("second", {"font.size": 20, "lines.linewidth": 9})):
        with matplotlib.rc_context(settings):
            figure = draw("curve_f1", results(metrics), "sims_data", methods)
            text = drawing.write(figure, tmp_path / name)
        contents.append([(tmp_path / f"{name}.{ending}").read_bytes() for ending in FORMATS])
        assert contents[-1][0].decode() == text
    assert contents[0] == contents[1]
    ElementTree.fromstring(contents[0][0])
    assert imread(tmp_path / "first.png").shape[2] == 4
    assert not re.search(rb"Software|[mM]atplotlib [v\d]|Date|<dc:date|20\d\d-\d\d-\d\d", b"".join(contents[0]))
    assert b"/FontFile2" in contents[0][2]  # TrueType outlines inside the file
    assert b"/Type3" not in contents[0][2]


def test_a_dollar_sign_in_a_name_is_no_formula(metrics):
    renamed = metrics.assign(method=metrics["method"].replace("steady", "$a_1$ & <b>"))
    text = drawing.svg(draw("curve_f1", results(renamed), "sims_data", ["$a_1$ & <b>"]))
    assert "$a_1$ &amp; &lt;b&gt;" in text


def test_each_class_has_a_panel_with_its_f1_against_the_rest(metrics, methods):
    figure = draw("curve_classes", results(metrics), "emotion_data", methods)
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
    figure = draw("curve_classes", results(pd.concat([source, *more])), "emotion_data", methods)
    assert len(figure.axes) == count


def test_the_confusion_of_classes_is_one_row_with_their_names(metrics, counted):
    figure = draw("confusion", results(metrics, confusions=counted).only(["steady"]), "emotion_data", ["steady"])
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == ["r = 0", "r = 0.1", "r = 0.5", "r = 0.9"]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["happy", "angry", "sad", "neutral"]
    for axes in panels:
        assert sum(int(text.get_text()) for text in axes.texts) == 2 * 2 * 30  # two seeds, two folds


def test_without_random_missing_the_panels_of_classes_say_so(metrics, methods):
    absent = metrics[metrics["corruption"] == "absent"]
    assert "evaluated" in draw("curve_classes", results(absent), "emotion_data", methods).texts[0].get_text()


def test_figures_are_as_wide_as_one_or_two_columns_and_have_room_for_many_names(metrics, counted, methods):
    what = {"dataset": "mosi_data", "methods": methods}
    assert draw("curve_mae", results(metrics), **what).get_figwidth() == 3.5
    assert draw("absent", results(metrics), **what).get_figwidth() == 7.2
    assert (
        draw("confusion", results(metrics, confusions=counted).only(["steady"]), "mosi_data", ["steady"]).get_figwidth()
        == 7.2
    )
    many = [f"method-{i}" for i in range(12)]
    copies = [metrics[metrics["method"] == "steady"].assign(method=name) for name in many]
    figure = draw("curve_mae", results(pd.concat(copies)), "mosi_data", many)
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
    assert box.y1 <= figure.axes[0].get_window_extent().y0
    assert figure.axes[0].get_window_extent().height > figure.dpi


def histories(metric="mae"):
    """Two runs of one method, of which one stops earlier, a teacher, and the floor."""
    found = {
        ("steady", "seed-1"): ([4.0, 3.0, 2.0], [0.9, 0.7, 0.8]),
        ("steady", "seed-2"): ([4.0, 3.0], [0.9, 0.8]),
        ("mmin_teacher", "seed-1"): ([9.0, 7.0], [1.2, 1.1]),
        (FLOOR, "seed-1"): ([np.nan], [1.3]),
    }
    tables, records = {}, {}
    for (method, run), (losses, scores) in found.items():
        epochs = [0] if method == FLOOR else range(1, len(scores) + 1)
        key = ("mosi_data", method, run)
        tables[key] = pd.DataFrame({"epoch": epochs, "loss": losses, f"valid_{metric}": scores})
        records[key] = {"checkpoints": {"valid": {"epoch": epochs[int(np.argmin(scores))]}}}
    return {"histories": tables, "records": records}


def test_training_shows_scaled_losses_validation_scores_and_the_epochs_that_were_kept(metrics):
    figure = draw("training", results(metrics, **histories()), "mosi_data", ["steady", FLOOR])
    loss, score = ({line.get_label(): line for line in axes.get_lines()} for axes in figure.axes)
    assert loss["steady"].get_ydata() == pytest.approx([1, 0.5, 0])
    assert loss["mmin_teacher"].get_ydata() == pytest.approx([1, 0])
    assert score["steady"].get_ydata() == pytest.approx([0.9, 0.75, 0.8])
    assert score["steady"].get_markevery() == [False, True, False]
    assert score[FLOOR].get_xdata() == pytest.approx([0, 3])
    assert score[FLOOR].get_ydata() == pytest.approx([1.3, 1.3])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["steady", "mmin_teacher", FLOOR]
    assert "TEST" not in drawing.svg(figure)


def test_training_that_chose_on_test_says_so(metrics):
    given = histories()
    given["records"]["mosi_data", "steady", "seed-1"]["checkpoints"]["mae"] = {"epoch": 1}
    figure = draw("training", results(metrics, **given), "mosi_data", ["steady"])
    assert "Checkpoints chosen on the TEST set" in drawing.svg(figure)
    drawn = {line.get_label(): line for line in figure.axes[1].get_lines()}
    assert drawn["steady"].get_markevery() == [True, True, False]


def test_learning_has_a_panel_per_modality_with_a_line_per_method(metrics):
    given = histories()["histories"]
    norms = {"gradient_text": [3.0, 1.0, 1.0], "gradient_audio": [1.0, 1.0, 3.0]}
    given["mosi_data", "steady", "seed-1"] = given["mosi_data", "steady", "seed-1"].assign(**norms)
    figure = draw("learning", results(metrics, histories=given), "mosi_data", ["steady", FLOOR])
    assert [axes.get_title("left") for axes in figure.axes] == ["mosi_data: text", "mosi_data: audio"]
    text, audio = ({line.get_label(): line for line in axes.get_lines()} for axes in figure.axes)
    assert text["steady"].get_ydata() == pytest.approx([75, 50, 25])
    assert audio["steady"].get_ydata() == pytest.approx([25, 50, 75])
    assert [each.get_text() for each in figure.legends[0].get_texts()] == ["steady"]


def test_without_histories_or_representations_the_figures_say_so(metrics, methods):
    what = {"dataset": "mosi_data", "methods": methods}
    assert "No training has a history" in draw("training", results(metrics), **what).texts[0].get_text()
    assert "No method has encoders" in draw("learning", results(metrics), **what).texts[0].get_text()
    assert "needs representations at r = 0" in draw("representations", results(metrics), **what).texts[0].get_text()
    corrupted_only = {**represented(rates=(0.0, 0.1)), "rates": np.array([0.1, 0.5])}
    for arrays in (corrupted_only, represented(samples=1), represented(rates=(0.0,)), represented(rates=())):
        given = {("mosi_data", "steady"): arrays}
        figure = draw("representations", results(metrics, representations=given), **what)
        assert "needs representations at r = 0" in figure.texts[0].get_text()


def represented(*, rates=(0.0, 0.1, 0.5, 0.9), classes=0, samples=24, constant=False, checkpoint="valid"):
    """Representations that show the label, less so the more is missing."""
    random = np.random.default_rng(5)
    labels = np.arange(samples) % classes if classes else np.round(np.linspace(-3, 3, samples), 1)
    direction, noise = random.normal(size=6), random.normal(size=(len(rates), samples, 6))
    values = [labels[:, None] * direction * (1 - rate) + noise[i] for i, rate in enumerate(rates)]
    return {
        "values": np.reshape(values, noise.shape).astype(np.float32) * (not constant),
        "rates": np.asarray(rates),
        "labels": labels,
        "ids": np.array([f"clip-{i}" for i in range(samples)]),
        "checkpoint": np.array(checkpoint),
    }


def test_views_project_onto_the_plane_of_the_complete_samples(monkeypatch):
    clean, corrupted = represented()["values"][[0, 2]]
    found = representations.views(clean, corrupted)
    centred = clean - clean.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    for view, values in zip(found["PCA"], (clean, corrupted), strict=True):
        assert np.abs(view) == pytest.approx(np.abs((values - clean.mean(0)) @ axes.T), abs=1e-4)
    assert [view.shape for view in found["t-SNE"]] == [(24, 2), (24, 2)]


def test_views_have_the_same_bits_on_any_number_of_threads():
    clean, corrupted = represented(samples=60)["values"][[0, 2]]
    once = representations.views(clean, corrupted)
    with threadpool_limits(2):
        again = representations.views(clean.copy(), corrupted.copy())
    for view, pair in once.items():
        for first, second in zip(pair, again[view], strict=True):
            assert first.tobytes() == second.tobytes()


def test_representations_of_scores_have_a_row_per_method_and_a_shape_per_sign(metrics):
    given = {("mosi_data", name): represented(constant=name == FLOOR) for name in ("brittle_one", "steady", FLOOR)}
    found = results(metrics, representations=given)
    assert representations.represented(found, "mosi_data") == ["steady", "brittle_one"]
    figure = draw("representations", found, "mosi_data", ["brittle_one", "steady"])
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert [axes.get_title(loc="left") for axes in panels[:4]] == [
        *("PCA, r = 0", "PCA, r = 0.5", "t-SNE, r = 0", "t-SNE, r = 0.5")
    ]
    assert [axes.get_ylabel() for axes in panels[::4]] == ["steady", "brittle_one"]
    for axes in panels:
        assert sum(len(points.get_offsets()) for points in axes.collections) == 24
        assert len({points.get_paths()[0].vertices.tobytes() for points in axes.collections}) == 2  # no label is 0
    assert panels[0].get_xlim() == panels[1].get_xlim()
    spread = [np.ptp(np.concatenate([c.get_offsets() for c in axes.collections])[:, 0]) for axes in panels[:2]]
    assert spread[1] < spread[0]


def test_representations_of_classes_have_a_look_per_class_and_name_the_checkpoint_chosen_on_test(metrics):
    given = {("emotion_data", "steady"): represented(classes=4, checkpoint="f1_weighted")}
    figure = draw("representations", results(metrics, representations=given), "emotion_data", ["steady"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["happy", "angry", "sad", "neutral"]
    assert "checkpoint of the best F1 weighted on TEST" in figure.legends[0].get_title().get_text()
    text = drawing.svg(figure)
    assert "Checkpoints chosen on the TEST set" in text
    assert text.count("<image") == 4  # points as bitmaps, one for each panel
    assert drawing.svg(figure) == text


def test_the_four_best_and_the_baseline_are_represented(metrics):
    names = ["a", "b", "c", "e", "f", "text_only"]
    steady = metrics[(metrics["dataset"] == "mosi_data") & (metrics["method"] == "steady")]
    copies = [
        steady.assign(method=name, value=steady["value"] * (1 - 0.1 * number)) for number, name in enumerate(names)
    ]
    given = {("mosi_data", name): represented() for name in names}
    assert representations.represented(results(pd.concat(copies), representations=given), "mosi_data") == [
        *("a", "b", "c", "e", "text_only")
    ]
