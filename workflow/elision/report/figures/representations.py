"""What methods make of the test samples, in two dimensions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from elision.report.figure import Figure
from elision.report.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

_BEST, _BASELINE = 4, "text_only"


class Representations(Figure):
    """Fused representations of test samples, complete and with parts missing."""

    name = "representations"
    caption = (
        "Fused representations of test samples, complete and with parts missing, in two dimensions. PCA: the plane in "
        "which the representations of complete samples vary most. t-SNE: complete and incomplete samples together; "
        "distances between groups mean little. Methods: the best four by {f1}, and text_only. Colour and shape: label."
    )
    section, place = "Representations", (1040, 0)

    def draw(self, results: Results, *, dataset: str, methods: Sequence[str]) -> "Drawing":
        """Draw a row per method of ``represented``.

        Parts are missing at r = 0.5, or the highest rate that there is. Complete and corrupted panels of a view share
        their axes. Points are drawn as a bitmap.
        """
        from matplotlib.cm import ScalarMappable

        from elision.evaluation.aggregate import VALID
        from elision.evaluation.metrics import family, metric
        from elision.report import drawing
        from elision.report.marks import of_methods, signs

        chosen = [method for method in represented(results, dataset) if method in methods]
        arrays = [results.representations[dataset, method] for method in chosen]
        rates = arrays[0]["rates"].round(6) if arrays else np.zeros(0)
        if not (rates == 0).any() or len(rates) < 2:
            return drawing.nothing("The figure needs representations at r = 0 and at another missing rate.")
        rate = 0.5 if (rates == 0.5).any() else rates.max()
        on_test = any(a["checkpoint"] != VALID for a in arrays)
        shown = of_methods(dataset, chosen, results.marks, on_test=on_test)
        figure, sign = drawing.figure_of(drawing.PAGE, 1.5 * len(chosen) + 0.6, shown), signs(shown)
        labels = arrays[0]["labels"]
        classes = family(results.family(dataset)).labels
        groups = _groups(labels, classes)
        grid = figure.subplots(len(chosen), 4, squeeze=False)
        for number, (line, method, found) in enumerate(zip(grid, chosen, arrays, strict=True)):
            pair = [found["values"][(rates == level).argmax()] for level in (0, rate)]
            for panels, (view, points) in zip((line[:2], line[2:]), views(*pair).items(), strict=True):
                panels[1].sharex(panels[0])
                panels[1].sharey(panels[0])
                for axes, level, places in zip(panels, (0, rate), points, strict=True):
                    for name, (rows, style) in groups.items():
                        axes.scatter(*places[rows].T, s=7, linewidths=0.2, edgecolors="#0006", label=name, **style)
                    axes.set_rasterization_zorder(2)
                    axes.set_xticks([])
                    axes.set_yticks([])
                    axes.margins(0.05)
                    axes.set_title("" if number else f"{view}, r = {level:g}")
            line[0].set_ylabel(method + sign.get(method, ""))
        of = f", checkpoint of the best {metric(str(arrays[0]['checkpoint'])).name} on TEST" if on_test else ""
        if not classes:
            scores = next(iter(groups.values()))[1]
            mesh = ScalarMappable(scores["norm"], scores["cmap"])
            figure.colorbar(mesh, ax=grid, label="score", aspect=40, pad=0.01)
        drawing.legend(grid[0, 0], list(groups), f"{dataset}: {len(labels)} test samples of the first run{of}")
        return figure


def represented(results: Results, dataset: str) -> list[str]:
    """Choose the methods whose representations are drawn, best first.

    They are the four of the best mean F1 over the missing rates, and ``text_only``; a constant, such as that of
    ``majority``, is none to draw.
    """
    found = {method: a["values"] for (of, method), a in results.representations.items() if of == dataset}
    # A plane takes two samples and two dimensions that vary.
    has = [
        method
        for method, values in found.items()
        if values.size and values.shape[1] > 1 and (np.ptp(values, axis=(0, 1)) > 0).sum() > 1
    ]
    ranked = results.ranked.loc[results.ranked["dataset"] == dataset, "method"]
    chosen = [method for method in ranked if method in has]
    return chosen[:_BEST] + [method for method in chosen[_BEST:] if method == _BASELINE]


def views(clean: np.ndarray, corrupted: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Show representations in two dimensions.

    Parameters
    ----------
    clean, corrupted : np.ndarray [shape=(N, D)]
        Of the same samples.

    Returns
    -------
    views : dict of str to (np.ndarray [shape=(N, 2)], np.ndarray [shape=(N, 2)])
        ``PCA``: the plane in which clean ones vary most, with corrupted ones projected onto it (HRLF, figure 6).
        ``t-SNE``: of both together, from their PCA. Neither depends on the number of threads.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        plane = PCA(2, svd_solver="full").fit(clean)
        both = np.concatenate([clean, corrupted])
        neighbours = min(30, (len(both) - 1) / 3)
        nearby = TSNE(perplexity=neighbours, max_iter=500, init="pca", random_state=0, n_jobs=1).fit_transform(both)
    return {"PCA": (plane.transform(clean), plane.transform(corrupted)), "t-SNE": tuple(np.split(nearby, 2))}


def _groups(labels: np.ndarray, classes: Sequence[str]) -> dict[str, tuple[np.ndarray, dict]]:
    """Rows of each class with its look; of scores, of each sign, with their values as colours."""
    from matplotlib.colors import Normalize

    from elision.report import drawing

    if classes:
        return {
            name: (labels == number, {"color": drawing.look(number)["color"], "marker": drawing.look(number)["marker"]})
            for number, name in enumerate(classes)
        }
    norm = Normalize(-abs(labels).max(), abs(labels).max())
    signs = {"negative": ("v", labels < 0), "zero": ("o", labels == 0), "positive": ("^", labels > 0)}
    return {
        name: (rows, {"c": labels[rows], "norm": norm, "cmap": "coolwarm", "marker": marker})
        for name, (marker, rows) in signs.items()
        if rows.any()
    }
