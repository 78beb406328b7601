"""Which epoch's weights are kept."""

import math
from dataclasses import dataclass, field

from elision.task import CORPORA

VALID = "valid"

# Metric on whose best TEST value LNLN's code saves a checkpoint, and whether a larger value is better
# (PROTOCOL_SENTIMENT, section 3). F1 scores come from the checkpoint of their accuracy, the correlation from that of
# the mean absolute error.
ORACLE_METRICS = {
    "mosi": {"acc2_nonneg": True, "acc2_negpos": True, "acc5": True, "acc7": True, "mae": False},
    "sims": {"acc2": True, "acc3": True, "acc5": True, "mae": False},
}


@dataclass
class Selection:
    """Keeps the best score per checkpoint.

    ``valid`` keeps one checkpoint, that of the lowest mean absolute error on the validation split. ``test_oracle``
    keeps one per metric, that of its best value on the TEST split: only for comparing with numbers that were made so.

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
    def of(cls, kind: str, corpus: str) -> "Selection":
        """Return the selection that ``train.selection`` names."""
        return cls({VALID: False} if kind == "valid" else dict(ORACLE_METRICS[CORPORA[corpus].metrics]))

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
