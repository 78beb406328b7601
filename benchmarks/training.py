"""Training speed of every method at the sizes of CMU-MOSI, with synthetic values and a random BERT-base.

Prints samples per second and peak memory on the device, the same on the CPU, their ratio, and the largest difference
between the weights of device and CPU after one step. Run: python benchmarks/training.py [METHOD ...] [--device cuda]
"""

import argparse
import copy
import time
from dataclasses import replace

import torch
from transformers import BertConfig, BertModel

from elision.batch import Batch, Sequence
from elision.methods import build, load, method_names, resolve
from elision.methods.base import Method
from elision.methods.layers.text_encoder import TextEncoder
from elision.task import MODALITIES, OFFICIAL_SPECS, DataSpec
from elision.training.loop import fused_optimizers


def synthetic_batch(spec: DataSpec, size: int, generator: torch.Generator) -> Batch:
    """Return a complete batch of random values with itself as its clean version."""

    def sequence(modality: str, width: int) -> Sequence:
        shape = (size, spec.length[modality])
        valid = torch.ones(shape, dtype=torch.bool)
        if modality == "text" and not spec.text:
            return Sequence(torch.randint(1000, 30000, shape, generator=generator), valid, valid)
        return Sequence(torch.randn(*shape, width, generator=generator), valid, valid)

    text, audio, vision = sequence("text", spec.text), sequence("audio", spec.audio), sequence("vision", spec.vision)
    label = torch.rand(size, generator=generator) * 6 - 3
    if spec.classes:
        label = torch.randint(len(spec.classes), (size,), generator=generator)
    batch = Batch(text, audio, vision, label, torch.arange(size), torch.arange(size), torch.zeros(size, 3))
    batch.clean = copy.copy(batch)
    return batch


def prepare(method: Method, batch: Batch, spec: DataSpec) -> list[torch.optim.Optimizer]:
    """Start training without dropout, so that devices can be compared."""
    for module in method.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    method.begin_training(torch.zeros(spec.samples, device=batch.label.device))
    method.train()
    return fused_optimizers(method)


def measure(method: Method, batch: Batch, spec: DataSpec, steps: int) -> tuple[float, float]:
    """Return samples per second, and peak memory in MiB (GPU only, else nan), over some steps after one of warm-up."""
    device = batch.label.device
    optimizers = prepare(method, batch, spec)
    method.on_epoch_start(2)
    method.update(batch, optimizers, 0)
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    for step in range(1, steps + 1):
        method.update(batch, optimizers, step)
    if cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return steps * len(batch) / seconds, torch.cuda.max_memory_allocated() / 2**20 if cuda else float("nan")


def difference(name: str, spec: DataSpec, encoder: TextEncoder, batch: Batch, device: str) -> float:
    """Return the largest difference of a weight between device and CPU after one step."""
    hyperparameters, _ = resolve(name, "mosi", {"accumulate": 1})
    weights = []
    for place in ("cpu", device):
        torch.manual_seed(0)
        method = build(name, hyperparameters, spec, copy.deepcopy(encoder)).to(place)
        moved = batch.to(place)
        optimizers = prepare(method, moved, spec)
        method.on_epoch_start(2)
        method.update(moved, optimizers, 0)
        weights.append([p.detach().cpu() for p in method.parameters()])
    return max(float((a - b).abs().max()) for a, b in zip(*weights, strict=True))


def main() -> None:
    """Print a line per method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", default=method_names())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--cpu-steps", type=int, default=1)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    bert = BertModel(BertConfig())
    name_of = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else arguments.device
    print(f"device {name_of}, torch {torch.__version__}, sizes of CMU-MOSI, BERT-base with random weights")
    for name in arguments.methods:
        hyperparameters, _ = resolve(name, "mosi")
        if not hyperparameters.epochs:
            continue
        encoder = TextEncoder(copy.deepcopy(bert), pooler=load(name).uses_pooler)
        spec = OFFICIAL_SPECS["mosi"]
        if hyperparameters.alignment != "none":
            spec = replace(spec, length=dict.fromkeys(MODALITIES, spec.length["text"]))
        batch = synthetic_batch(spec, hyperparameters.batch_size, torch.Generator().manual_seed(1))
        speeds = {}
        for device, steps in {"cpu": arguments.cpu_steps, arguments.device: arguments.steps}.items():
            method = build(name, hyperparameters, spec, copy.deepcopy(encoder)).to(device)
            speeds[device], memory = measure(method, batch.to(device), spec, steps)
        line = f"{name}: {speeds[arguments.device]:.1f} samples/s"
        if arguments.device != "cpu":
            apart = difference(name, spec, encoder, batch, arguments.device)
            ratio = speeds[arguments.device] / speeds["cpu"]
            line += f", {memory:.0f} MiB peak, {ratio:.0f} x CPU, weights differ by at most {apart:.1e}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
