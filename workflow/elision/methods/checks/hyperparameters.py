"""Every hyperparameter does something, and is described."""

from collections.abc import Iterator
from typing import Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from elision.methods.base import TrainingHyperparameters
from elision.methods.checks._check import Check, Finding, all_checks
from elision.methods.checks._small import learn, recording
from elision.methods.checks._subject import Subject
from elision.task import CORPORA


class Hyperparameters(Check):
    """Note which hyperparameters are read from the building of the method to a prediction."""

    name, place = "hyperparameters", 70
    holds = "Every hyperparameter is described and is read, if only under another value of a switch."

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Name the hyperparameters that nothing reads, and defaults of a corpus that are not allowed."""
        cls = subject.cls
        for name, field in cls.Hyperparameters.model_fields.items():
            if not field.description:
                yield Finding(name, f"The hyperparameter {name} has no description.")
        for name in cls.exceptions:
            if name not in all_checks():
                yield Finding(name, f"exceptions names the unknown check {name!r}.")
        known = {name for corpus in CORPORA.values() for name in corpus.defaults}
        for corpus, values in cls.corpus_defaults.items():
            if corpus not in known:
                yield Finding(corpus, f"corpus_defaults names the unknown corpus {corpus!r}.")
            try:
                cls.Hyperparameters(**values)
            except ValidationError as error:
                wrong = error.errors()[0]
                yield Finding(corpus, f"corpus_defaults[{corpus!r}] is wrong: {wrong['loc'][0]}: {wrong['msg']}.")
        for name in sorted(never_read(subject)):
            yield Finding(name, f"The hyperparameter {name} is never read.")


def never_read(subject: Subject) -> set[str]:
    """Return the hyperparameters that are read under no value of a switch."""
    left, used = _unread(subject), subject.hyperparameters
    for key, field in subject.cls.Hyperparameters.model_fields.items():
        if not left:
            break
        if key not in TrainingHyperparameters.model_fields:
            for value in _others(field, getattr(used, key)):
                left &= _unread(subject, **{key: value})
    return left


def _unread(subject: Subject, **overrides: object) -> set[str]:
    """Return the hyperparameters that neither the method nor the trainer reads."""
    hyperparameters, read = recording(type(subject.hyperparameters)(**subject.hyperparameters.model_dump() | overrides))
    batch = subject.batch()
    method = subject.make(hyperparameters=hyperparameters)
    if subject.is_trained:
        optimizers = method.train().optimizers()
        for epoch in (1, 2):
            method.learning_rate_factor(epoch)
            learn(method, [batch, batch], optimizers, epoch=epoch)
            method.on_epoch_end(1.0)
        method.on_train_end()
    method.eval().predict(batch)
    # The trainer only compares `accumulate` with the size of the data; a method that has gradients must follow it.
    follows = {"accumulate"} if subject.is_trained and not subject.cls.own_epochs else set()
    of_the_trainer = set(TrainingHyperparameters.model_fields) - follows
    return set(type(hyperparameters).model_fields) - read - of_the_trainer


def _others(field: FieldInfo, current: object) -> list:
    """Return the other values of a switch: of a bool, or of a literal."""
    literal = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    values = {bool: (True, False)}.get(field.annotation, literal)
    return [value for value in values if value != current]
