"""What encoding text costs: utterances one by one and in batches, and 17 test conditions with and without memory.

Utterances are random token ids, whose lengths are spread like those of speech; the encoder is MiniLM. Ways are measured
in turn in one process, with one thread. Run: python benchmarks/encoding.py [--utterances 300] [--device cuda]
"""

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import pandas as pd
import torch

from elision.corruption.plan import conditions, draw
from elision.features.encode import hidden_states
from elision.features.text import special_tokens
from elision.methods import resolve
from elision.settings.params import Corruption
from elision.store import Header, Sequences, Store
from elision.training.run import Assembled, predict, remembering
from elision.training.view import spec

LONGEST = 50  # tokens
RATES = [round(0.1 * k, 1) for k in range(10)]


def synthetic(count: int) -> Store:
    """Return a test split of random token ids, with one vector of audio and vision for each utterance."""
    random = np.random.default_rng(1)
    special = special_tokens("minilm")
    lengths = random.lognormal(2.4, 0.7, count).clip(3, LONGEST).astype(int)
    ids = [np.array([special["cls"], *random.integers(1000, 30000, n - 2), special["sep"]], np.int32) for n in lengths]
    vectors = {name: [random.normal(size=(1, 8)).astype(np.float32)] * count for name in ("audio", "vision")}
    sequences = {
        "text": Sequences.of(ids, Header(modality="text", length=LONGEST, extractor="minilm", settings=special))
    }
    for name, values in vectors.items():
        sequences[name] = Sequences.of(values, Header(modality=name, length=1, extractor="random"))
    samples = pd.DataFrame({"id": [f"u{k}" for k in range(count)], "split": "test", "label": random.normal(size=count)})
    return Store(samples, sequences, {"data": "random"})


def in_turn(ways: dict[str, Callable[[], list[np.ndarray]]], device: torch.device, times: int = 3) -> None:
    """Print the seconds of each way, the ratio of the first to each, and the largest difference of what they return."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found = {}
    for _ in range(times):
        for name, way in ways.items():
            start = time.perf_counter()
            found[name] = way()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
    first = next(iter(ways))
    for name in ways:
        ratio = np.median(np.array(seconds[first]) / np.array(seconds[name]))
        apart = max(float(np.abs(a - b).max()) for a, b in zip(found[first], found[name], strict=True))
        print(f"  {name:<40} {np.median(seconds[name]):7.2f} s   {ratio:5.2f} times   differs by {apart:.1e}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--utterances", type=int, default=300)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    store, device = synthetic(asked.utterances), torch.device(asked.device)
    ids = list(store.modalities["text"])

    print(f"text vectors of {len(ids)} utterances, {sum(map(len, ids))} tokens, on {device}")
    in_turn(
        {
            "one by one": lambda: [hidden_states([each], encoder="minilm", device=device)[0] for each in ids],
            "in batches": lambda: hidden_states(ids, encoder="minilm", device=device),
        },
        device,
    )
    settings = Corruption.model_validate({"random": RATES, "absent": True})
    listed, (_, numbers) = conditions(settings, ("text", "audio", "vision")), draw(store, settings)
    for name in ("text_only", "lnln"):
        assembled = Assembled(name, resolve(name, "mosi")[0], device=asked.device, threads=1)
        model = assembled.build(spec(store, "mosi", assembled.view))
        data = assembled.split(store, "test", scales={})

        def evaluated(trims: bool, memory: bool, model=model, data=data) -> list[np.ndarray]:
            model.encoder.trims = trims
            with remembering(model) if memory else nullcontext():
                lost = (data.corrupted(each.kind.test(each, data.samples, None, numbers, None)) for each in listed)
                return [predict(model, data, each)[0] for each in lost]

        print(f"{name}: {len(listed)} conditions")
        own = model.encoder.trims
        ways = {"every text, as padded": (False, False), "equal texts once": (False, True)}
        ways |= {"equal texts once, padding left out": (True, True)} if own else {}
        in_turn({way: lambda how=how: evaluated(*how) for way, how in ways.items()}, device, 1)


if __name__ == "__main__":
    main()
