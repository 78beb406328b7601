"""Nothing is missing: training on complete data."""

from elision.corruption.kind import Draw, Kind, Samples


class Complete(Kind):
    """Training alone: the test split is complete at rate 0 of other kinds."""

    name = "complete"
    rank = 90
    training = "nothing is missing"

    def train(self, samples: Samples, draw: Draw, setting: object, options: object) -> None:
        return None
