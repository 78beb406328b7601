"""What an epoch of training does: which parameters get a gradient, and which losses nobody minimises."""

import linecache
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from elision.methods.base import Method
from elision.methods.checks._check import in_method, place
from elision.methods.checks._small import learn
from elision.methods.checks._subject import Subject
from elision.task import MODALITIES


@dataclass
class Epoch:
    """What was seen in an epoch.

    Attributes
    ----------
    without, zero : list of str
        Trainable parameters that got no gradient, and those whose gradient was zero throughout.
    loose : dict of str to str
        Lines that compute a loss which is never minimised, by the text of the line, with the place of each.
    terms : dict of str to str
        Terms of the loss that never reach the loss that is minimised (``not added``), or that depend on no parameter
        (``constant``), by name.
    """

    without: list[str] = field(default_factory=list)
    zero: list[str] = field(default_factory=list)
    loose: dict[str, str] = field(default_factory=dict)
    terms: dict[str, str] = field(default_factory=dict)


def epoch(subject: Subject) -> Epoch:
    """Train an untrained method for the second and for its last epoch, after a short first one, and watch.

    Some parts learn from complete utterances only, others from absent modalities only: there are batches of all kinds.
    Where a method has few epochs, the last is the second again. What is seen is kept with the subject.
    """
    if "watched" in vars(subject):
        return vars(subject)["watched"]
    method = subject.make().train()
    lost = [subject.batch(), subject.batch(lost=0.0), *(subject.batch(absent=(name,)) for name in MODALITIES)]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        optimizers = method.optimizers()
        learn(method, lost[:1], optimizers, epoch=1)
        method.zero_grad()
        with _Watch(method) as watch:
            for number in dict.fromkeys((2, max(2, subject.hyperparameters.epochs))):
                learn(method, lost, optimizers, epoch=number)
    vars(subject)["watched"] = watch.seen()
    return vars(subject)["watched"]


class _Watch(TorchFunctionMode):
    """Note gradients, single numbers that depend on parameters, and the losses from which gradients are computed."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method
        self.gradients: dict[str, bool] = {}
        self.numbers: list[tuple[Tensor, tuple[str, int, str]]] = []
        self.terms: list[dict[str, Tensor]] = []
        self.reached: set[Any] = set()
        self.added: set[tuple[str, int, str]] = set()
        self.loose: set[tuple[str, int, str]] = set()
        self.of_terms: dict[str, set[str]] = {}
        self._undo: list[Callable[[], None]] = []

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.ndim == 0 and result.grad_fn is not None:
            where = _where(getattr(function, "__name__", ""))
            if where:
                self.numbers.append((result, where))
        return result

    def __enter__(self) -> "_Watch":
        for name, parameter in self.method.named_parameters():
            if parameter.requires_grad:
                hook = parameter.register_hook(lambda gradient, name=name: self._note(name, gradient))
                self._undo.append(hook.remove)
        for name in ("backward", "grad"):
            self._replace(torch.autograd, name, self._reaching(getattr(torch.autograd, name)))
        loss, update = self.method.loss, self.method.update
        self._replace(self.method, "loss", lambda batch: self._terms(loss(batch)))
        self._replace(self.method, "update", lambda *a: self._updated(update(*a)))
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for undo in reversed(self._undo):
            undo()

    def _replace(self, holder: Any, name: str, value: Callable) -> None:
        own, old = name in vars(holder), getattr(holder, name)
        setattr(holder, name, value)
        self._undo.append((lambda: setattr(holder, name, old)) if own else (lambda: delattr(holder, name)))

    def _note(self, name: str, gradient: Tensor) -> None:
        self.gradients[name] = self.gradients.get(name, False) or bool(gradient.ne(0).any())

    def _terms(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        self.terms.append(dict(terms))
        return terms

    def _reaching(self, function: Callable) -> Callable:
        def compute(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            for tensor in [tensors] if isinstance(tensors, Tensor) else tensors:
                self.reached |= _graph(tensor.grad_fn)
            return function(tensors, *args, **kwargs)

        return compute

    def _updated(self, result: Any) -> Any:
        """Finish an update: what was computed in it either reached a loss, or did not."""
        loose = [(x, where) for x, where in self.numbers if x.grad_fn not in self.reached]
        self.added |= {where for x, where in self.numbers if x.grad_fn in self.reached}
        # Of a number that another one is computed from, the other one is told.
        used: set[Any] = set().union(*(_graph(x.grad_fn) - {x.grad_fn} for x, _ in loose))
        self.loose |= {where for x, where in loose if x.grad_fn not in used}
        for terms in self.terms:
            for name, term in terms.items():
                how = "constant" if term.grad_fn is None else "added" if term.grad_fn in self.reached else "not added"
                self.of_terms.setdefault(name, set()).add(how)
        self.numbers, self.terms, self.reached = [], [], set()
        return result

    def seen(self) -> Epoch:
        """Return what was seen."""
        trainable = [name for name, p in self.method.named_parameters() if p.requires_grad]
        loose = {}
        for file, line, _ in sorted(self.loose - self.added):
            loose[linecache.getline(file, line).strip()] = place(file, line)
        terms = {
            name: "constant" if how == {"constant"} else "not added"
            for name, how in self.of_terms.items()
            if "added" not in how
        }
        return Epoch(
            without=[name for name in trainable if name not in self.gradients],
            zero=[name for name in trainable if not self.gradients.get(name, True)],
            loose=loose,
            terms=terms,
        )


def _graph(root: Any) -> set[Any]:
    """Return all nodes of a graph of gradients."""
    seen, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting += [following for following, _ in node.next_functions]
    return seen


def _where(function: str) -> tuple[str, int, str] | None:
    """Return file and line of the innermost line of a method that is running, with the function that it calls."""
    frame = sys._getframe(2)
    while frame:
        if in_method(frame.f_code.co_filename):
            return frame.f_code.co_filename, frame.f_lineno, function
        frame = frame.f_back
    return None
