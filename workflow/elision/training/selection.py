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

    ``valid`` keeps one checkpoint, that of the best epoch on the validation split (``train.watch``). ``test_oracle``
    keeps one more per metric, with the best value on the TEST split. Use ``test_oracle`` only to compare with numbers
    that were made in this way, and to measure how much choosing on the test split adds.

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
    def of(cls, kind: str, watch: str, family: "Family") -> "Selection":
        """Return the selection that ``train.selection`` and ``train.watch`` name, by the metrics of a dataset."""
        larger = watch == "metric" and family.selection[1]
        return cls({VALID: larger} | (family.checkpoints if kind == "test_oracle" else {}))

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
        """Epochs since the validation split last had a new best; the test split never prolongs a training."""
        return epoch - self.best[VALID][0]
