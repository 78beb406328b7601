"""Speed of methods beside the classes that their authors released, at the sizes of a corpus and without text encoder.

Both get the same weights and inputs; their predictions must agree within 1e-5. Then a training step and a prediction of
each are timed in turn, in one process. Utterances are between an eighth and all of the padded length. The table has
medians, the peak memory of each beyond what was in use, and the share of the measured rate of matrix products that we
reach (recurrent layers are not counted).

``--sources`` names a folder of checkouts of the released repositories, each under its own name (MMSA, LNLN, ALMT, MMIN,
IF-MMIN, CIF-MMIN, Noise-robust_MER, GCNet); MMIN is its branch ``master``. Their code imports einops, which is no
dependency of this project: pip install einops. Without the folder, methods are compared with those of the last release,
or of the commit that ``--release`` names.
Run: python benchmarks/against_official.py [METHOD ...] [--sources FOLDER] [--release COMMIT] [--corpus mosi]
"""

import argparse
import ctypes
import dataclasses
import importlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from operations import Operations
from released import TEXT_WIDTH, Given, Released, found
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from elision.batch import Batch
from elision.methods import load, method_names, resolve
from elision.methods.base import Method
from elision.task import MODALITIES, OFFICIAL_SPECS, DataSpec
from training import synthetic_batch

TOLERANCE = 1e-5
SHORTEST = 0.125  # utterance, in padded lengths
PRESENT = torch.tensor([[c in which for c in "tav"] for which in ("t", "a", "v", "ta", "tv", "av")])
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
COLUMNS = ("method", "corpus", "batch", "differ by", "what", "times as fast", "samples/s: theirs", "ours")
COLUMNS += ("MiB: theirs", "ours", "of matrix rate", "operations of our step")


@dataclasses.dataclass
class Side:
    """One of the two that are compared: a model, and functions that take a training step and predict.

    ``within`` surrounds every use of it, ``without_gradients`` its predictions.
    """

    model: nn.Module
    step: Callable[[], Any]
    predict: Callable[[], Tensor]
    within: Callable[[], Any] = nullcontext
    without_gradients: Callable[[], Any] = torch.inference_mode

    def function(self, what: str) -> Callable[[], Any]:
        """Return what is timed."""
        return self.step if what == "training" else self.predict

    @contextmanager
    def ready(self, what: str) -> Iterator[None]:
        """Prepare for it; the preparation is not timed."""
        with self.within(), nullcontext() if what == "training" else self.without_gradients():
            yield


def own(name: str, corpus: str, overrides: dict[str, Any], spec: DataSpec, states: Tensor) -> Method:
    """Build our method with its teachers, of whichever package is active."""
    methods = importlib.import_module("elision.methods")
    cls = methods.load(name)
    # Teachers learn from the same data: what differs is known by both.
    common = {key: value for key, value in overrides.items() if key in cls.Hyperparameters.model_fields}
    encoder = Given(states, pooler=cls.uses_pooler)
    method = methods.build(name, methods.resolve(name, corpus, common)[0], spec, encoder)
    teachers = {need: own(need, corpus, overrides, spec, states).eval().requires_grad_(False) for need in cls.needs}
    if teachers:
        method.start(teachers, None)
    return method


def our_side(method: Method, batch: Batch, within: Callable[[], Any] = nullcontext) -> Side:
    """Prepare a method of ours for steps in its second epoch."""
    spec = method.spec
    method.begin_training(torch.zeros(spec.samples, device=batch.label.device))
    method.on_epoch_start(2)
    optimizers = importlib.import_module("elision.training.loop").fused_optimizers(method)
    return Side(method, lambda: method.update(batch, optimizers, 0), lambda: method.predict(batch).output, within)


def their_side(released: Released, model: nn.Module, batch: Batch, ours: Method) -> Side:
    """Prepare a released class, with the optimizer that we have, not fused."""
    inputs = released.inputs(model, batch)
    (first, *_) = ours.optimizers()
    optimizer = type(first)(
        [p for p in model.parameters() if p.requires_grad],
        lr=first.defaults["lr"],
        weight_decay=first.defaults["weight_decay"],
    )
    return Side(
        model,
        lambda: released.step(model, inputs, batch, optimizer),
        lambda: released.predict(model, inputs),
        without_gradients=torch.no_grad,
    )


def inputs_for(cls: type[Method], spec: DataSpec, size: int) -> Batch:
    """Return a batch; of a method that learns from vectors without some modality, one with modalities left out."""
    batch = synthetic_batch(spec, size, torch.Generator().manual_seed(1), shortest=SHORTEST)
    if cls.corruption not in ("absent", "noise"):
        return batch
    present = PRESENT[torch.arange(size) % len(PRESENT)]
    kept = {}
    for column, name in enumerate(MODALITIES):
        sequence = getattr(batch, name)
        kept[name] = dataclasses.replace(sequence, values=sequence.values * present[:, column, None, None])
    return dataclasses.replace(batch, rate=1 - present.float(), **kept)


def transplant(theirs: nn.Module, ours: Method, released: Released) -> None:
    """Give our method their weights: within a module, those of a shape follow each other in both.

    Raises
    ------
    ValueError
        If a module of the two has other shapes, or a weight of either is in no module.
    """
    named = {n: p for n, p in theirs.named_parameters() if not n.startswith(released.unread)}
    own = dict(ours.named_parameters())
    left, missing = set(named), {name for name in own if not name.startswith("encoder.")}
    for source, target in released.modules.items():
        pairs = [_by_shape(weights, path) for weights, path in ((named, source), (own, target))]
        if {shape: len(names) for shape, names in pairs[0].items()} != {s: len(names) for s, names in pairs[1].items()}:
            raise ValueError(f"{source} and {target} have weights of other shapes")
        for shape, names in pairs[0].items():
            for name, its in zip(names, pairs[1][shape], strict=True):
                own[its].data.copy_(_flat(named[name].data))
                left.discard(name)
                missing.discard(its)
    if left or missing:
        raise ValueError(f"weights without a counterpart: {sorted(left | missing)}")
    released.arrange(ours)


def _flat(weight: Tensor) -> Tensor:
    """Turn a convolution over an image of one channel into one over a sequence of its rows."""
    return weight.squeeze(1).mT if weight.ndim == 4 else weight


def _by_shape(weights: dict[str, nn.Parameter], path: str) -> dict[torch.Size, list[str]]:
    named: dict[torch.Size, list[str]] = {}
    for name, weight in weights.items():
        if name == path or name.startswith(f"{path}."):
            named.setdefault(_flat(weight).shape, []).append(name)
    return named


class Former:
    """The package of an earlier commit, beside that of today."""

    def __init__(self, commit: str) -> None:
        self.commit = commit
        self.modules: dict[str, Any] = {}
        self.folder = tempfile.TemporaryDirectory()
        archive = subprocess.run(
            ["git", "archive", commit, "workflow"], check=True, capture_output=True, cwd=Path(__file__).parents[1]
        ).stdout
        subprocess.run(["tar", "-x", "-C", self.folder.name], input=archive, check=True)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let ``elision`` be the earlier one."""
        today = self._take()
        sys.modules.update(self.modules)
        sys.path.insert(0, f"{self.folder.name}/workflow")
        try:
            yield
        finally:
            sys.path.pop(0)
            self.modules = self._take()
            sys.modules.update(today)

    def _take(self) -> dict[str, Any]:
        names = [name for name in sys.modules if name.partition(".")[0] == "elision"]
        return {name: sys.modules.pop(name) for name in names}


def seconds(function: Callable[[], Any], device: torch.device, clock: Callable[[], float]) -> float:
    """Return the time that a function takes."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = clock()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def peak(function: Callable[[], Any], device: torch.device) -> float:
    """Return the peak memory of a function in MiB, beyond what was in use."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before would not be taken anew
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    function()
    return (_memory("VmHWM") - before) / 2**20


def _memory(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def attention_flops(query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any) -> int:
    """Count the matrix products of an attention on a processor, which PyTorch counts on a GPU only."""
    return sdpa_flop_count(query, key, value)


def attention_backward_flops(grad: torch.Size, *others: torch.Size, **_: Any) -> int:
    """Count those of its backward pass, which computes the scores again."""
    return sdpa_backward_flop_count(grad, *others[:3])


ON_A_PROCESSOR = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward_flops,
}


def matrix_rate(device: torch.device, clock: Callable[[], float]) -> float:
    """Return the best rate of several products of float32 matrices of 2048 rows and columns, in FLOP/s."""
    a = torch.randn(2048, 2048, device=device)
    return 2 * 2048**3 / min(seconds(lambda: a @ a, device, clock) for _ in range(8))


def sides(name: str, arguments: argparse.Namespace, device: torch.device) -> tuple[str, int, Side, Side]:
    """Return corpus, size of the batch, and what is compared: theirs, or ours of an earlier commit, and ours."""
    released = found()[name] if arguments.sources else None
    cls = load(name)
    usual = released.corpora[0] if released else "iemocap" if cls.reads_text == "vectors" else "mosi"
    corpus = arguments.corpus or usual
    overrides = released.hyperparameters if released else {}
    hyperparameters = importlib.import_module("elision.methods").resolve(name, corpus, dict(overrides))[0]
    size = (released and released.batch) or arguments.batch or hyperparameters.batch_size

    def sized() -> DataSpec:
        spec = importlib.import_module("elision.task").OFFICIAL_SPECS[corpus]
        if hyperparameters.alignment != "none":
            spec = dataclasses.replace(spec, length=dict.fromkeys(MODALITIES, spec.length["text"]))
        return released.sizes(spec) if released else spec

    spec = sized()
    torch.manual_seed(0)
    states = torch.randn(size, spec.length["text"], TEXT_WIDTH, device=device)
    batch = inputs_for(cls, spec, size).to(device)
    ours = own(name, corpus, overrides, spec, states).to(device)
    if not released:
        former = arguments.former
        with former.active():
            before = own(name, corpus, {}, sized(), states).to(device)
            its = our_side(before, batch, former.active)
        ours.load_state_dict(before.state_dict())
        for mine, other in zip(getattr(ours, "_teacher", []), getattr(before, "_teacher", []), strict=True):
            mine.load_state_dict(other.state_dict())
        return corpus, size, its, our_side(ours, batch)

    def built(which: str) -> nn.Module:
        model = found()[which].make(arguments.sources / found()[which].repository, spec, corpus).to(device)
        for weight in model.parameters():
            if weight.requires_grad:
                weight.data += 0.02 * torch.randn_like(weight)
        for module in model.modules():
            if isinstance(module, Given):
                module.states = states
        return model

    theirs = built(name)
    transplant(theirs, ours, released)
    for need, teacher in zip(cls.needs, getattr(ours, "_teacher", []), strict=True):
        model = built(need)
        transplant(model, teacher, found()[need])
        released.start(theirs, model)
    return corpus, size, their_side(released, theirs, batch, ours), our_side(ours, batch)


def compare(name: str, arguments: argparse.Namespace, device: torch.device) -> None:
    """Print the rows of one method."""
    clock = CLOCKS[arguments.clock]
    corpus, size, theirs, ours = sides(name, arguments, device)

    theirs.model.eval()
    ours.model.eval()
    outputs = []
    for side in (theirs, ours):
        with side.ready("prediction"):
            outputs.append(side.predict().reshape(size, -1))
    apart = float((outputs[0] - outputs[1]).abs().max())
    spread = float(outputs[0].std(0).max())
    if not apart < min(TOLERANCE, spread / 100):
        raise SystemExit(f"{name}: predictions differ by {apart:.1e}, and {spread:.1e} between utterances")

    for what in ("training", "prediction"):
        memory, times = [], ([], [])
        for side in (theirs, ours):
            side.model.train(what == "training")
            with side.ready(what):
                side.function(what)()
                memory.append(peak(side.function(what), device))
        with FlopCounterMode(display=False, custom_mapping=ON_A_PROCESSOR) as counted:
            # Without inference mode, in which nothing can be counted.
            ours.function(what)()
        rate = matrix_rate(device, clock)
        while len(times[0]) < arguments.repeats or sum(map(sum, times)) < arguments.seconds:
            for side, taken in zip((theirs, ours), times, strict=True):
                with side.ready(what):
                    taken.append(seconds(side.function(what), device, clock))
        rate = max(rate, matrix_rate(device, clock))
        theirs_median, ours_median = map(statistics.median, times)
        operations = ""
        if what == "training":
            with Operations() as dispatched:
                ours.step()
            operations = str(dispatched.counts.total())
        row = (name, corpus, size, f"{apart:.0e}", what, f"{theirs_median / ours_median:.2f}")
        row += (f"{size / theirs_median:.0f}", f"{size / ours_median:.0f}", *(f"{mib:.0f}" for mib in memory))
        row += (f"{counted.get_total_flops() / ours_median / rate:.0%} of {rate / 1e9:.0f} GFLOP/s", operations)
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def trained_alone() -> list[str]:
    """Return the methods that learn, and search no database."""
    return [name for name in method_names() if not load(name).retrieves and resolve(name, "other")[0].epochs]


def main() -> None:
    """Compare each method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", help="default: all that can be compared")
    parser.add_argument("--sources", type=Path, help="folder of checkouts of the released repositories")
    parser.add_argument("--release", help="commit to compare with, without --sources (default: the last tag)")
    parser.add_argument("--corpus", choices=list(OFFICIAL_SPECS), help="default: mosi, or iemocap for vectors of text")
    parser.add_argument("--batch", type=int, help="default: that of the method")
    parser.add_argument("--repeats", type=int, default=3, help="least number of steps of each that are timed")
    parser.add_argument("--seconds", type=float, default=4.0, help="least time in all for steps, and for predictions")
    parser.add_argument("--threads", type=int, help="threads of PyTorch")
    parser.add_argument(
        "--clock",
        choices=list(CLOCKS),
        default="wall",
        help="cpu: CPU time, which other work on the machine hardly disturbs; with --threads 1",
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    names = arguments.methods or (list(found()) if arguments.sources else trained_alone())
    if arguments.sources:
        if unknown := [name for name in names if name not in found()]:
            parser.error(f"no released class of {', '.join(unknown)}; choose of {', '.join(found())}")
        if arguments.corpus:
            for name in [name for name in names if arguments.corpus not in found()[name].corpora]:
                print(f"left out: {name} has no released configuration for {arguments.corpus}", flush=True)
                names.remove(name)
    else:
        tag = ["git", "describe", "--tags", "--abbrev=0"]
        commit = arguments.release or subprocess.run(tag, capture_output=True, text=True).stdout.strip()
        if not commit:
            parser.error("there is no tag to compare with; give --sources FOLDER, or --release COMMIT")
        arguments.former = Former(commit)
    device = torch.device(arguments.device)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    threads = f"{torch.get_num_threads()} thread(s)"
    print(f"device {device}, {threads}, {arguments.clock} time, torch {torch.__version__}\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for name in names:
        compare(name, arguments, device)


if __name__ == "__main__":
    main()
