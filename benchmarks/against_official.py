"""Speed of methods beside the classes that their authors released, at the sizes of a corpus and without text encoder.

Both get the same weights and inputs; their predictions must agree within 1e-5. Then a training step and a prediction of
each are timed in turn, in one process, and the best of several is kept.

``--sources`` names a folder of checkouts of the released repositories, each under its own name (LNLN, ALMT, ...). Their
code imports einops, which is no dependency of this project: pip install einops.
Run: python benchmarks/against_official.py --sources FOLDER [METHOD ...] [--corpus mosi] [--batch 32] [--repeats 3]
"""

import argparse
import ctypes
import importlib
import sys
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from operations import Operations
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from elision.batch import Batch
from elision.methods import build, resolve
from elision.methods.base import Method
from elision.task import OFFICIAL_SPECS
from elision.training.loop import fused_optimizers
from training import synthetic_batch

TOLERANCE = 1e-5
_TEXT_WIDTH = 768


class Given(nn.Module):
    """A text encoder that returns the hidden states [B, T, 768] that it is given, whatever the text is."""

    width = _TEXT_WIDTH

    def __init__(self, states: Tensor | None = None) -> None:
        super().__init__()
        self.states = states

    def forward(self, *_: Any) -> Tensor:
        """Return the states."""
        return self.states


@dataclass(frozen=True)
class Released:
    """A class that was released.

    Attributes
    ----------
    repository : str
        Folder of the checkout.
    make : function of (repository, corpus)
        Returns the class's instance.
    modules : dict of str to str
        Our module or parameter for each of theirs; paths with dots.
    predict, loss : function of (instance, batch)
        The output [B], and the loss that is minimised.
    """

    repository: str
    make: Callable[[Path, str], nn.Module]
    modules: dict[str, str]
    predict: Callable[[nn.Module, Batch], Tensor]
    loss: Callable[[nn.Module, Batch], Tensor]


def released_module(folder: Path, name: str) -> types.ModuleType:
    """Import a module of a released folder of models, with `Given` as its text encoder."""
    package = f"released_{folder.parent.name}".lower().replace("-", "_")
    if package not in sys.modules:
        sys.modules[package] = types.ModuleType(package)
        sys.modules[package].__path__ = [str(folder)]
    module = importlib.import_module(f"{package}.{name}")
    module.BertTextEncoder = lambda *_, **__: Given()
    return module


def make_lnln(repository: Path, corpus: str) -> nn.Module:
    """Build LNLN as its configuration for a corpus says."""
    settings = yaml.safe_load((repository / "configs" / f"train_{corpus}.yaml").read_text(encoding="utf-8"))
    return released_module(repository / "models", "lnln").LNLN(settings)


def make_almt(repository: Path, corpus: str) -> nn.Module:
    """Build ALMT as its configuration for a corpus says."""
    settings = yaml.safe_load((repository / "configs" / f"{corpus}.yaml").read_text(encoding="utf-8"))
    model = types.SimpleNamespace(**settings["model"])
    return released_module(repository / "models", "almt").ALMT(types.SimpleNamespace(model=model))


def _inputs(batch: Batch) -> tuple[Tensor, Tensor, None]:
    return batch.vision.values, batch.audio.values, None


def predict_lnln(model: nn.Module, batch: Batch) -> Tensor:
    """Return scores [B]: without a complete input, nothing but the prediction is computed."""
    return model((None, None, None), _inputs(batch))["sentiment_preds"].squeeze(1)


def loss_lnln(model: nn.Module, batch: Batch) -> Tensor:
    """Return the sum of the four terms of LNLN, equation 14."""
    vision, audio, _ = _inputs(batch.clean)
    found = model((vision, audio, 0), _inputs(batch))
    real = torch.zeros(len(found["effectiveness_discriminator_out"]), dtype=torch.long, device=vision.device)
    real[: len(real) // 2] = 1
    return (
        0.9 * F.mse_loss(found["w"], 1 - batch.rate[:, :1])
        + 0.8 * F.cross_entropy(found["effectiveness_discriminator_out"], real)
        + 0.1 * F.mse_loss(found["rec_feats"], found["complete_feats"])
        + F.mse_loss(found["sentiment_preds"].squeeze(1), batch.label)
    )


def predict_almt(model: nn.Module, batch: Batch) -> Tensor:
    """Return scores [B]."""
    return model(*_inputs(batch)).squeeze(1)


def loss_almt(model: nn.Module, batch: Batch) -> Tensor:
    """Return the squared error."""
    return F.mse_loss(predict_almt(model, batch), batch.label)


def hyper_modality(path: str, layers: int = 3) -> dict[str, str]:
    """Return the modules of hyper-modality layers, whose projections we keep in another order."""
    norms = {
        f"norm{number}": f"norm_{of}" for number, of in enumerate(("language", "audio", "vision", "hyper"), start=1)
    }
    projections = {"to_q": "query", "to_k_ta": "audio_key", "to_k_tv": "vision_key", "to_out": "out"}
    projections |= {"to_v_ta": "audio_value", "to_v_tv": "vision_value"}
    names = norms | {f"fn.{name}": its for name, its in projections.items()}
    return {
        f"{path}.layers.{layer}.0.{name}": f"hyper_modality.{layer}.{its}"
        for layer in range(layers)
        for name, its in names.items()
    }


RELEASED = {
    "lnln": Released(
        "LNLN",
        make_lnln,
        {
            "h_hyper": "hyper",
            "h_p": "proxy",
            "proj_l": "embedding.text",
            "proj_a": "embedding.audio",
            "proj_v": "embedding.vision",
            "proxy_dominate_modality_generator": "proxy_generator",
            "effective_discriminator": "discriminator",
            "completeness_check": "completeness_check",
            "reconstructor.0": "reconstructor.audio",
            "reconstructor.1": "reconstructor.vision",
            "reconstructor.2": "reconstructor.text",
            "dmml.0": "language_encoder",
            **hyper_modality("dmml.1"),
            "dmml.2": "fusion",
            "dmml.3": "head",
        },
        predict_lnln,
        loss_lnln,
    ),
    "almt": Released(
        "ALMT",
        make_almt,
        {
            "h_hyper": "hyper",
            "proj_l": "embedding.text",
            "proj_a": "embedding.audio",
            "proj_v": "embedding.vision",
            "l_encoder": "language_encoder",
            **hyper_modality("h_hyper_layer"),
            "fusion_layer": "fusion",
            "regression_layer": "head",
        },
        predict_almt,
        loss_almt,
    ),
}


def transplant(theirs: nn.Module, ours: Method, modules: dict[str, str]) -> None:
    """Give our method their weights: within a module, those of a shape follow each other in both.

    Raises
    ------
    ValueError
        If a module of the two has other shapes, or a weight of either is in no module.
    """
    named, own = dict(theirs.named_parameters()), dict(ours.named_parameters())
    left, missing = set(named), {name for name in own if not name.startswith("encoder.")}
    for source, target in modules.items():
        pairs = [_by_shape(weights, path) for weights, path in ((named, source), (own, target))]
        if {shape: len(names) for shape, names in pairs[0].items()} != {s: len(names) for s, names in pairs[1].items()}:
            raise ValueError(f"{source} and {target} have weights of other shapes")
        for shape, names in pairs[0].items():
            for name, its in zip(names, pairs[1][shape], strict=True):
                own[its].data.copy_(named[name].data)
                left.discard(name)
                missing.discard(its)
    if left or missing:
        raise ValueError(f"weights without a counterpart: {sorted(left | missing)}")


def _by_shape(weights: dict[str, nn.Parameter], path: str) -> dict[torch.Size, list[str]]:
    found: dict[torch.Size, list[str]] = {}
    for name, weight in weights.items():
        if name == path or name.startswith(f"{path}."):
            found.setdefault(weight.shape, []).append(name)
    return found


def seconds(function: Callable[[], Any], device: torch.device) -> tuple[float, float]:
    """Return the time that a function takes, and its peak memory in MiB beyond what was in use."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed before would not be taken anew
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    start = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    taken = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else _memory("VmHWM")
    return taken, (peak - before) / 2**20


def _memory(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def matrix_rate(device: torch.device) -> float:
    """Return the best rate of several products of float32 matrices of 2048 rows and columns, in FLOP/s."""
    a = torch.randn(2048, 2048, device=device)
    return 2 * 2048**3 / min(seconds(lambda: a @ a, device)[0] for _ in range(8))


def compare(name: str, sources: Path, corpus: str, size: int, repeats: int, device: torch.device) -> None:
    """Print what `main` says about one method."""
    released, spec = RELEASED[name], OFFICIAL_SPECS[corpus]
    torch.manual_seed(0)
    states = torch.randn(size, spec.length["text"], _TEXT_WIDTH, device=device)
    theirs = released.make(sources / released.repository, corpus).to(device)
    for weight in theirs.parameters():
        weight.data += 0.02 * torch.randn_like(weight)
    for module in theirs.modules():
        if isinstance(module, Given):
            module.states = states
    ours = build(name, resolve(name, corpus)[0], spec, Given(states)).to(device)
    transplant(theirs, ours, released.modules)
    batch = synthetic_batch(spec, size, torch.Generator().manual_seed(1)).to(device)
    ours.begin_training(torch.zeros(spec.samples, device=device))
    ours.on_epoch_start(2)

    with torch.inference_mode():
        apart = float((released.predict(theirs.eval(), batch) - ours.eval().predict(batch).output).abs().max())
    if not apart < TOLERANCE:
        raise SystemExit(f"{name}: predictions differ by {apart:.1e}")

    optimizers = fused_optimizers(ours)
    (first, *_) = optimizers
    optimizer = type(first)(theirs.parameters(), lr=first.defaults["lr"], weight_decay=first.defaults["weight_decay"])

    def their_step() -> None:
        optimizer.zero_grad()
        released.loss(theirs, batch).backward()
        optimizer.step()

    def their_prediction() -> None:
        with torch.inference_mode():
            released.predict(theirs, batch)

    def our_prediction() -> None:
        with torch.inference_mode():
            ours.predict(batch)

    pairs = {
        "training": (their_step, lambda: ours.update(batch, optimizers, 0)),
        "prediction": (their_prediction, our_prediction),
    }
    print(f"{name} at the sizes of {corpus}, batches of {size}: predictions differ by at most {apart:.1e}")
    for what, functions in pairs.items():
        for model in (theirs, ours):
            model.train(what == "training")
        with FlopCounterMode(display=False) as counted:
            # Without inference mode, in which nothing can be counted.
            functions[1]() if what == "training" else ours.predict(batch)
        times: tuple[list, list] = ([], [])
        rates = []
        for _ in range(repeats):
            rates.append(matrix_rate(device))
            for function, taken in zip(functions, times, strict=True):
                taken.append(seconds(function, device))
        theirs_best, ours_best = (min(taken)[0] for taken in times)
        memory = [max(peak for _, peak in taken) for taken in times]
        share = counted.get_total_flops() / ours_best / max(rates)
        print(
            f"  {what}: {theirs_best / ours_best:.1f} times as fast ({size / ours_best:.1f} against "
            f"{size / theirs_best:.1f} samples/s), peak {memory[0]:.0f} against {memory[1]:.0f} MiB (theirs, ours), "
            f"{share:.0%} of a matrix rate of {max(rates) / 1e9:.0f} GFLOP/s",
            flush=True,
        )
    with Operations() as operations:
        ours.update(batch, optimizers, 0)
    print(f"  operations of our training step: {operations.counts.total()}", flush=True)


def main() -> None:
    """Compare each method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=list(RELEASED), help=f"of {', '.join(RELEASED)}")
    parser.add_argument("--sources", type=Path, required=True, help="folder of checkouts of the released repositories")
    parser.add_argument("--corpus", default="mosi", choices=["mosi", "mosei", "sims"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    print(f"device {device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name in arguments.methods:
        compare(name, arguments.sources, arguments.corpus, arguments.batch, arguments.repeats, device)


if __name__ == "__main__":
    main()
