"""A run, assembled once: which method with which hyperparameters, what the method sees, and where it is computed."""

import ctypes
import math
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from elision import compilers
from elision.errors import ElisionError
from elision.methods import build, load, resolve_variant
from elision.methods.base import Method, TrainingHyperparameters
from elision.methods.layers.text_encoder import TextEncoder
from elision.settings.params import Params, teacher_names
from elision.store import Store
from elision.task import DataSpec, parse_run
from elision.training import checkpoint
from elision.training.selection import VALID
from elision.training.split import Corrupted, Mixture, SplitData
from elision.training.view import Scale, View, spec


def choose_device(name: str) -> torch.device:
    """Return the device of ``train.device``.

    Raises
    ------
    ElisionError
        If it is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[device.type]:
        raise ElisionError(f"train.device: {name} is not available on this machine; write auto or cpu")
    return device


def keep_memory() -> None:
    """Let the process keep freed memory for its next arrays, where the C library is glibc.

    By default glibc gives arrays above 32 MB back at once: every step then takes its gradients from the system again,
    which zeroes each page. That is up to a tenth of a training step with a text encoder.
    """
    mmap_max, trim_threshold = -4, -1  # of malloc.h
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)


def compute_in_float32() -> None:
    """Keep products of float32 numbers from being computed in TF32 or bfloat16, as PyTorch or an environment may ask.

    PyTorch has two interfaces for this, which must agree.
    """
    backends = torch.backends
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = False
    for library in (backends.cuda, backends.mkldnn):
        library.matmul.fp32_precision = "ieee"
    for library in (backends.cudnn, backends.mkldnn):
        library.conv.fp32_precision = library.rnn.fp32_precision = "ieee"


def compile_functions(model: Method, device: torch.device) -> None:
    """Compile the functions that a method names in ``compiled``; random numbers are drawn as if they were not.

    Raises
    ------
    ElisionError
        If the machine lacks what is needed.
    """
    compilers.require(on_gpu=device.type == "cuda")
    torch.compiler.reset()  # a run must not depend on what an earlier one of the same job compiled
    for name in model.compiled:
        setattr(model, name, torch.compile(getattr(model, name), options={"fallback_random": True}))


class Assembled:
    """A method with its hyperparameters, on a device.

    Parameters
    ----------
    method : str
        File of ``methods/``.
    hyperparameters : Hyperparameters
    device : str
        As ``train.device``.
    threads : int
        CPU threads, which decide last bits.
    precision : str
        As ``train.precision``.
    compiled : bool
        As ``train.compile``.
    fold : int
        0 without folds.

    Attributes
    ----------
    view : View
        What the method sees of a dataset.
    """

    def __init__(
        self,
        method: str,
        hyperparameters: TrainingHyperparameters,
        *,
        device: str,
        threads: int,
        precision: str = "float32",
        compiled: bool = False,
        fold: int = 0,
    ) -> None:
        self.method, self.hyperparameters, self.fold = method, hyperparameters, fold
        self.precision, self.compiled = precision, compiled
        self.view = View.of(load(method), hyperparameters, fold)
        self._device, self._threads = device, threads

    @cached_property
    def device(self) -> torch.device:
        """The device, chosen when it is first asked for: a job leases its GPU before.

        The process has the CPU threads of the run from then on, keeps its memory, and computes products of float32
        numbers in float32.
        """
        keep_memory()
        torch.set_num_threads(self._threads)
        compute_in_float32()
        return choose_device(self._device)

    def build(self, sizes: DataSpec) -> Method:
        """Return the method, untrained, on the device; PyTorch's global generator decides its weights."""
        device = self.device  # which decides how numbers are computed, from the first on
        model = build(self.method, self.hyperparameters, sizes).to(device)
        model.precision = self.precision
        if self.compiled:
            compile_functions(model, device)
        return model

    def split(
        self, store: Store, name: str, *, scales: dict[str, Scale], spans: dict[str, np.ndarray] | None = None
    ) -> SplitData:
        """Return a split of a store as the method sees it, on the device (parameters as of ``SplitData``)."""
        return SplitData(store, name, scales=scales, spans=spans, device=self.device, view=self.view)


class Run(Assembled):
    """A run of a method on a dataset, as the params ask for it.

    Parameters
    ----------
    params : Params
    dataset : str
    name : str
        Of a variant or of a teacher.
    run : str
        ``seed-S`` or ``seed-S.fold-F``.
    tested_on : str
        The dataset whose test split is predicted, under its conditions; by default that of the training.

    Attributes
    ----------
    variant : Variant
    settings : Train
        ``train`` of the params, with what the protocol of the dataset decides.
    seed, fold : int
    oracle : bool
        Whether checkpoints are chosen on the test split, too.
    """

    def __init__(self, params: Params, dataset: str, name: str, run: str, tested_on: str = "") -> None:
        self.params, self.dataset, self.name, self.run = params, dataset, name, run
        self.tested_on = tested_on or dataset
        self.variant = params.trained[name]
        self.settings = params.train_for(dataset)
        self.oracle = params.chosen_on_test(dataset, name)
        self.seed, fold = parse_run(run)
        hyperparameters, _ = resolve_variant(params, self.variant, dataset)
        threads = params.train.threads
        super().__init__(
            self.variant.method,
            hyperparameters,
            device=params.train.device,
            threads=threads,
            precision=self.settings.precision,
            compiled=self.settings.compile,
            fold=fold,
        )

    def __str__(self) -> str:
        return f"{self.dataset} {self.name} {self.run}"

    @property
    def mask_seed(self) -> int:
        """Seed of what is missing in the validation and the test split."""
        seed = self.params.corruption_for(self.tested_on).seed
        return self.seed if seed == "run" else seed

    @property
    def mixture(self) -> Mixture:
        """How its training data are corrupted."""
        corruption = self.params.corruption_for(self.dataset)
        kind = self.hyperparameters.corruption or self.settings.corruption
        # train.rates are those of train.corruption: a method with a corruption of its own has its own rates.
        shared = self.settings.rates if self.hyperparameters.corruption is None else None
        own = self.hyperparameters.with_complete
        options = {
            "rates": self.hyperparameters.rates or shared,
            "with_complete": self.settings.with_complete if own is None else own,
        }
        return Mixture(
            kind,
            getattr(corruption, kind, None),
            self.hyperparameters.model_copy(update=options),
            mask_seed=self.mask_seed if corruption.masks == "shared" else None,
            # What methods start from is chosen under its own training corruption, whether or not a row shows it.
            validation_rate=None if self.name in teacher_names() else self.settings.validation_rate,
        )

    def teacher(self, name: str) -> "Run":
        """Return the run of a teacher that this run starts from."""
        return Run(self.params, self.dataset, name, self.run)

    def sizes(self, store: Store) -> DataSpec:
        """Return the sizes of the dataset; ``store`` has the text vectors, where the method reads them."""
        return spec(store, self.params.datasets[self.dataset].corpus, self.view)

    def trained(self, store: Store, weights: Path) -> Method:
        """Build the method with the weights of the finished run, in evaluation mode and frozen.

        Parameters
        ----------
        store : Store
            With the text vectors, where the method reads them.
        weights : Path
            ``model.safetensors`` of the run.
        """
        model = self.build(self.sizes(store))
        checkpoint.load_run_weights(weights, VALID, model)
        return model.eval().requires_grad_(False)


@torch.inference_mode()
def predict(model: Method, data: SplitData, corrupted: Corrupted | None) -> tuple[np.ndarray, np.ndarray]:
    """Predict a whole split, in its order and in batches of a fixed size.

    The last batch is filled up with its last sample: with another size, last bits would be other ones, and the
    prediction of a sample would depend on how many there are. Where the text encoder leaves out what a whole batch
    pads, samples with texts of like length are predicted together. A batch of a method that reads dialogues is so many
    whole dialogues.

    Returns
    -------
    predictions : np.ndarray [shape=(N,)] or [shape=(N, C)]
        Scores, or class logits.
    labels : np.ndarray [shape=(N,)]
        Scores, or numbers of classes.
    """
    model.eval()
    size = model.hyperparameters.batch_size
    order = torch.arange(data.units)
    alone = model.one_by_one and not (corrupted and corrupted.of_batches)
    if alone and isinstance(model.encoder, TextEncoder) and model.encoder.trims:
        order = torch.from_numpy(data.lengths["text"].argsort(kind="stable"))
    filled = order[torch.arange(math.ceil(data.units / size) * size).clamp(max=data.units - 1)]
    batches = (data.batch(data.members(units), corrupted) for units in filled.split(size))
    with model.autocast(data.device):
        outputs = [model.predict(batch).output.float().cpu() for batch in batches]
    return torch.cat(outputs)[: len(data)][data.members(order).argsort()].numpy(), data.labels.cpu().numpy()


def remembering(model: Method) -> AbstractContextManager:
    """Let a text encoder encode equal batches of predictions once in a block in which its weights do not change."""
    return model.encoder.remembering() if isinstance(model.encoder, TextEncoder) else nullcontext()
