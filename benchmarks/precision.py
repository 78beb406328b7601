"""Training and prediction of every method in bfloat16 beside float32, at the sizes of CMU-MOSI.

Values are synthetic, and the text encoder is a random BERT of two layers. Both precisions take turns in one process.
Prints the time of float32 over that of bfloat16 (more than 1: bfloat16 is faster), and first the same for a product of
matrices. Run: python benchmarks/precision.py [METHOD ...] [--device cuda]
"""

import argparse
import copy
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import torch
from transformers import BertConfig, BertModel

from elision.methods import build, load, method_names, resolve
from elision.methods.layers.text_encoder import TextEncoder
from elision.task import MODALITIES, OFFICIAL_SPECS
from elision.training.run import compute_in_float32
from training import prepare, synthetic_batch

PRECISIONS = ("float32", "bfloat16")


def ratio(run: Callable[[str], None], device: torch.device, rounds: int) -> float:
    """Return the median time in float32 over that in bfloat16; the first round warms up."""
    seconds: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for _ in range(rounds + 1):
        for precision in PRECISIONS:
            start = time.perf_counter()
            run(precision)
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds[precision].append(time.perf_counter() - start)
    exact, short = (median(seconds[precision][1:]) for precision in PRECISIONS)
    return exact / short


def of_method(name: str, bert: BertModel, device: torch.device, rounds: int) -> tuple[float, float]:
    """Return the ratios of a training step and of a prediction."""
    hyperparameters, _ = resolve(name, "mosi")
    spec = OFFICIAL_SPECS["mosi"]
    if hyperparameters.alignment != "none":
        spec = replace(spec, length=dict.fromkeys(MODALITIES, spec.length["text"]))
    batch = synthetic_batch(spec, hyperparameters.batch_size, torch.Generator().manual_seed(1)).to(device)
    encoder = TextEncoder(copy.deepcopy(bert), pooler=load(name).uses_pooler)
    method = build(name, hyperparameters, spec, encoder).to(device)
    optimizers = prepare(method, batch, spec)
    method.on_epoch_start(2)

    def learn(precision: str) -> None:
        method.precision = precision
        with method.train().autocast(device):
            method.update(batch, optimizers, 0)

    def predict(precision: str) -> None:
        method.precision = precision
        with torch.inference_mode(), method.eval().autocast(device):
            method.predict(batch)

    return ratio(learn, device, rounds), ratio(predict, device, rounds)


def main() -> None:
    """Print a line per method."""
    parser = argparse.ArgumentParser(description=__doc__)
    named = [name for name in method_names() if not load(name).needs and load(name).reads_text == "tokens"]
    parser.add_argument("methods", nargs="*", default=named)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", type=torch.device)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    compute_in_float32()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    bert = BertModel(BertConfig(num_hidden_layers=2))
    x = torch.randn(1024, 1024, device=arguments.device)

    def multiply(precision: str) -> None:
        kind = getattr(torch, precision)
        for _ in range(10):
            x.to(kind) @ x.to(kind)

    print(f"torch {torch.__version__} on {arguments.device}, {torch.backends.cpu.get_cpu_capability()}")
    print(f"product of matrices 1024 x 1024: {ratio(multiply, arguments.device, arguments.rounds):.2f}")
    for name in arguments.methods:
        learn, predict = of_method(name, bert, arguments.device, arguments.rounds)
        print(f"{name}: training step {learn:.2f}, prediction {predict:.2f}", flush=True)


if __name__ == "__main__":
    main()
