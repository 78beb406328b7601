"""Nothing is NaN or infinite, whatever a dataset may hold."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from elision.batch import Batch, Sequence
from elision.methods.checks._check import Check, Finding, attempt
from elision.methods.checks._small import changed, learn
from elision.methods.checks._subject import Subject
from elision.task import MODALITIES, DataSpec

LARGEST = 1e4  # of features that are not standardised: pixels, Hertz, millimetres


def no_modality(name: str, length: int, *, vectors: bool) -> Sequence:
    """Return a modality that the dataset does not have, for three samples."""
    valid = torch.zeros(3, length, dtype=torch.bool)
    values = torch.zeros(3, length, 1) if vectors or name != "text" else torch.zeros(3, length, dtype=torch.long)
    return Sequence(values, valid, valid)


def odd_batches(subject: Subject) -> dict[str, Batch]:
    """Return batches at the edges of what a dataset may hold, by what is odd about each."""
    nothing, one = dict.fromkeys(MODALITIES, 0), dict.fromkeys(MODALITIES, 1)
    odd = {
        "one sample": subject.batch(1),
        "one valid position": subject.batch(3, lengths=one),
        "nothing observed": subject.batch(3, lost=1.0),
        "one modality": subject.batch(3, lost=0.0, absent=("text", "vision")),
        "a sample without text": subject.batch(3, lengths={"text": 0}),
        "samples without any modality": subject.batch(3, lengths=nothing),
    }
    batch = subject.batch(3, lost=0.2)
    for what, function in _EXTREMES.items():
        odd[what] = changed(
            batch,
            {
                name: function(getattr(batch.clean, name).values)
                for name in MODALITIES
                if getattr(batch, name).values.is_floating_point()
            },
        )
    return odd


_EXTREMES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "features of 10,000": lambda x: x * LARGEST,
    "features of -10,000 alone": lambda x: torch.full_like(x, -LARGEST),
    "features of 1e-30": lambda x: x * 1e-30,
    "features of zero": torch.zeros_like,
}


def odd_sizes(subject: Subject) -> dict[str, tuple[DataSpec, Batch]]:
    """Return datasets of odd sizes with a batch of each: of one position, and without one of the modalities.

    Modalities that the method requires are never left out.
    """
    spec = subject.spec
    aligned = spec.length["audio"] == spec.length["text"]
    shortest = replace(spec, length=dict.fromkeys(MODALITIES, 1))
    sizes = {"one position": (shortest, subject.batch(3, spec=shortest))}
    for name in MODALITIES:
        if name in subject.cls.requires:
            continue
        width = {name: 1} if spec.text or name != "text" else {}
        length = {**spec.length, name: 1}
        if aligned:
            length = dict.fromkeys(MODALITIES, length["text"])
        without = replace(spec, **width, length=length)
        batch = subject.batch(3, spec=without)
        none = {name: no_modality(name, length[name], vectors=spec.text > 0)}
        sizes[f"a dataset without {name}"] = without, replace(batch, **none, clean=replace(batch.clean, **none))
    return sizes


class Finite(Check):
    """Predict and train at odd sizes and at extreme values."""

    name, place = "finite", 60
    holds = "Predictions, losses and weights stay finite for odd sizes and extreme values, one prediction per sample."
    of_runs = every_task = True

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Predict each batch; and train a small method with it."""
        cases = {what: (subject, batch) for what, batch in odd_batches(subject).items()}
        if not subject.finished:
            sizes = odd_sizes(subject).items()
            cases |= {what: (subject.sized(spec), batch) for what, (spec, batch) in sizes}
        for what, (sized, batch) in cases.items():
            yield from attempt(what, lambda sized=sized, batch=batch, what=what: predicted(sized, batch, what))
            if sized.is_trained and not sized.finished:
                yield from attempt(what, lambda sized=sized, batch=batch, what=what: trained(sized, batch, what))


@torch.no_grad()
def predicted(subject: Subject, batch: Batch, what: str) -> Iterator[Finding]:
    """Yield what is wrong with the predictions of a batch."""
    prediction = subject.ready.predict(batch)
    output, representation = prediction.output, prediction.representation
    expected = (len(batch),) if subject.regression else (len(batch), len(subject.spec.classes))
    if output.shape != expected:
        yield Finding(what, f"{what}: the output has the shape {list(output.shape)} instead of {list(expected)}.")
    if representation.ndim != 2 or len(representation) != len(batch):
        shape = list(representation.shape)
        yield Finding(what, f"{what}: the representation has the shape {shape}, and not one vector per sample.")
    for part, values in (("output", output), ("representation", representation)):
        if not values.isfinite().all():
            yield Finding(what, f"{what}: the {part} has {_told(values)}.")


def trained(subject: Subject, batch: Batch, what: str) -> Iterator[Finding]:
    """Yield what is wrong after two steps of training on a batch; after one step, where the values are extreme."""
    method = subject.make().train()
    steps = 1 if what in _EXTREMES else 2
    for name, term in learn(method, [batch] * steps, method.optimizers(), epoch=2).items():
        if term.shape != ():
            yield Finding(what, f"{what}: the term {name!r} of the loss is no single number.")
        elif not term.isfinite():
            yield Finding(what, f"{what}: the term {name!r} of the loss is {float(term)}.")
    for name, parameter in method.named_parameters():
        if not parameter.isfinite().all():
            yield Finding(what, f"{what}: training makes {name} {_told(parameter)}.")
            return


def _told(values: torch.Tensor) -> str:
    return "NaN" if values.isnan().any() else "infinite numbers"
