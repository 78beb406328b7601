"""Protocols: whole procedures by name, from what is corrupted to what is averaged.

A protocol gives the values of the settings that ``params.yaml`` leaves open; a value that stands there wins, and the
results say so. What only a protocol decides (rounding, swapped F1, deviations) has no setting.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_RATES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Protocol:
    """A procedure.

    Attributes
    ----------
    source : str
        Whose it is.
    random : tuple of float
        Missing rates of the test split.
    absent : bool
        Test with every subset of the modalities absent as a whole, and none.
    noise : tuple of str
        Kinds of noise of the test split, in place of absent modalities.
    masks : str
        Which positions are missing at a rate. ``keyed``: a stream of its own for each sample and modality; ``lnln``:
        one array of NumPy's legacy generator, the same numbers for all modalities, splits and runs.
    t_per_batch : bool
        One step of the noise scheduler per modality and batch.
    training : str
        Training corruption of methods without one of their own.
    redraw : str
        New training masks every ``epoch``, or ``never``.
    validation_rate : float or None
        Missing rate of all modalities on the validation split; None: as in training.
    epochs : int or None
        Of every method; None: each method's own.
    selection : str
        ``valid``: one checkpoint, by MAE or UA on the validation split; ``test_oracle``: one per metric, on TEST.
    decimals : mapping of str to int
        Decimals to which metrics are rounded before anything is selected or averaged, by the metric family of scores.
    swapped_f1 : bool
        Report the F1 with swapped arguments beside the right one.
    deviation : str
        Deviation over runs of a mean over conditions: of the runs' ``means``, or the mean of each ``condition``'s own.
    folds : bool
        Whether it is defined for folds only.
    """

    source: str
    random: tuple[float, ...] = ()
    absent: bool = True
    noise: tuple[str, ...] = ()
    masks: str = "keyed"
    t_per_batch: bool = False
    training: str = "lnln"
    redraw: str = "epoch"
    validation_rate: float | None = None
    epochs: int | None = None
    selection: str = "valid"
    decimals: Mapping[str, int] = field(default_factory=dict)
    swapped_f1: bool = False
    deviation: str = "means"
    folds: bool = False

    def settings(self) -> dict[str, dict[str, Any]]:
        """Return the values for the sections ``corruption``, ``noise`` and ``train`` of the params."""
        return {
            "corruption": {"random": list(self.random), "absent": self.absent, "masks": self.masks},
            "noise": {"kinds": list(self.noise), "t_per_batch": self.t_per_batch},
            "train": {
                "corruption": self.training,
                "redraw": self.redraw,
                "validation_rate": self.validation_rate,
                "epochs": self.epochs,
                "selection": self.selection,
            },
        }


PROTOCOLS = {
    "elision": Protocol(source="ours", random=_RATES),
    "lnln": Protocol(
        source="LNLN, NeurIPS 2024, and its code",
        random=_RATES,
        masks="lnln",
        redraw="never",
        validation_rate=0.5,
        epochs=200,
        selection="test_oracle",
        decimals={"mosi": 4},
        swapped_f1=True,
        deviation="conditions",
    ),
    "mmsa": Protocol(
        source="MMSA's code: trained on complete data; its tests are complete, too, the rates are ours",
        random=_RATES,
        training="complete",
        decimals={"mosi": 4, "sims": 4},
    ),
    "mmin": Protocol(source="MMIN, ACL 2021, and its code", training="absent", folds=True),
    "nmer": Protocol(
        source="NMER, arXiv 2311.16114, and its code",
        absent=False,
        noise=("gaussian", "impulse"),
        t_per_batch=True,
        training="noise",
        folds=True,
    ),
    "hrlf": Protocol(source="HRLF, NeurIPS 2024", random=(*_RATES, 1.0), training="mixed"),
}
