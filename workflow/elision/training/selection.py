"""Which epoch's weights are kept."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elision.evaluation.metrics import Family

VALID = "valid"


@dataclass
class Selection:
    """Keeps the best score per checkpoint.

    ``valid`` keeps one checkpoint, the best on the validation split: of the least mean absolute error of scores, or the
    highest macro recall of classes. ``test_oracle`` keeps one per metric besides, that of its best value on the TEST
    split: only for comparing with numbers that were made so, and for telling how much that choice is worth.

    Attributes
    ----------
    larger : dict of str to bool
        Name of each checkpoint, and whether a larger score is better.
    best : dict of str to (int, float)
        Epoch and score of the best so far.
    """

    larger: dict[str, bool]
    best: dict[str, tuple[int, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, kind: str, family: "Family") -> "Selection":
        """Return the selection that the setting ``train.selection`` names, by the metrics of a dataset."""
        return cls({VALID: family.selection[1]} | (family.checkpoints if kind == "test_oracle" else {}))

    def improved(self, epoch: int, scores: dict[str, float]) -> list[str]:
        """Take the scores of an epoch and return the checkpoints that it is the best for.

        An epoch that scores nan is never the best, unless there is no other yet.
        """
        names = []
        for name, larger in self.larger.items():
            score = scores[name]
            if name in self.best:
                best = self.best[name][1]
                better = score > best if larger else score < best
                if not (better or (math.isnan(best) and not math.isnan(score))):
                    continue
            self.best[name] = (epoch, score)
            names.append(name)
        return names

    def epochs_without_improvement(self, epoch: int) -> int:
        """Epochs since any checkpoint was last replaced."""
        return epoch - max(best for best, _ in self.best.values())
