"""MMIN and what descends from it: AIM3-RUC/MMIN, IF-MMIN, CIF-MMIN, Noise-robust_MER, and the baselines of GCNet.

Their classes hold networks, inputs, losses and optimizer together; a step is their own ``optimize_parameters``. Weights
of a teacher are random, as all are.
"""

import contextlib
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from elision.batch import Batch
from elision.task import MODALITIES, DataSpec
from released import Released, imported, stub

LETTERS = {"A": "audio", "L": "text", "V": "vision"}


class Networks(nn.Module):
    """The networks of a model of the family as one module."""

    def __init__(self, model: Any, names: Iterable[str]) -> None:
        super().__init__()
        self.model = model
        for name in names:
            self.add_module(name, getattr(model, f"net{name}"))

    def train(self, mode: bool = True) -> "Networks":
        """Tell the model, too."""
        self.model.isTrain = mode
        return super().train(mode)


class Family(Released):
    """What the classes share.

    Attributes
    ----------
    module, kind : str
        Module and name of the class.
    options : dict
        What the released script sets.
    stubs : dict of str to module
        Stand-ins for modules that are not there or do not count.
    """

    corpora = ("iemocap",)
    module: str
    kind: str
    options: dict[str, Any] = {}
    hyperparameters = {"mask_padding": False}
    stubs: dict[str, Any] = {}
    inner = ""

    def make(self, folder: Path, spec: DataSpec, corpus: str) -> nn.Module:
        """Build the class."""
        place = tempfile.TemporaryDirectory()  # the classes make folders
        options = {
            **{"gpu_ids": [], "isTrain": True, "checkpoints_dir": place.name, "name": "", "cvNo": 1, "run_idx": 1},
            **{
                "cuda_benchmark": False,
                "image_dir": place.name,
                "shared_dir": place.name,
                "modality": "AVL",
                "corpus_name": "IEMOCAP",
            },
            **{"embd_size_a": 128, "embd_size_l": 128, "embd_size_v": 128, "bn": False, "cls_layers": "128,128"},
            **{"embd_method_a": "maxpool", "embd_method_v": "maxpool", "output_dim": spec.outputs, "lr": 2e-4},
            **{"input_dim_a": spec.audio, "input_dim_l": spec.text, "input_dim_v": spec.vision, "beta1": 0.5},
            **{"AE_layers": "256,128,64", "n_blocks": 5, "share_weight": False, "weight_decay": 0.0},
            **{"ce_weight": 1.0, "mse_weight": 1.0, "cycle_weight": 1.0, "batch_size": 64, "use_cmd_sim": True},
            **self.options,
        }
        module = imported(folder / self.inner, self.module, stubs=self.stubs)
        cls = getattr(module, self.kind)
        cls.load_pretrained_encoder = lambda *_: None
        with contextlib.redirect_stdout(None):  # the classes print their folder
            model = cls(SimpleNamespace(**options))
        place.cleanup()
        return Networks(model, model.model_names)

    def start(self, model: nn.Module, teacher: nn.Module) -> None:
        """Give the model its teacher."""
        teacher.eval()
        model.model.pretrained_encoder = teacher.model

    def inputs(self, model: nn.Module, batch: Batch) -> Any:
        """Set the inputs of the model: as they came, the missing ones, and complete."""
        their, clean, available = model.model, batch.clean or batch, batch.rate < 1
        their.label = batch.label
        for column, (letter, name, full) in enumerate(
            (("L", "text", "lexical"), ("A", "audio", "acoustic"), ("V", "vision", "visual"))
        ):
            values = getattr(clean, name).values
            setattr(their, full, values)
            setattr(their, f"{letter}_miss", getattr(batch, name).values)
            setattr(their, f"{letter}_reverse", values * ~available[:, column, None, None])
        return None

    def predict(self, model: nn.Module, inputs: Any) -> Tensor:
        """Return the logits [B, C]."""
        model.model.forward()
        return model.model.logits

    def step(self, model: nn.Module, inputs: Any, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        """Take a step, with the optimizer of the model."""
        model.model.optimize_parameters(2)


def classifier(theirs: str, ours: str, *, batch_norm: bool = False) -> dict[str, str]:
    """Return the modules of a classifier with two hidden layers."""
    layer = 4 if batch_norm else 3  # linear, ReLU, batch norm, dropout
    names = {f"module.{n}": str(n) for n in (0, layer)} | {"fc_out": str(2 * layer)}
    names |= {f"module.{n}": str(n) for n in (2, layer + 2)} if batch_norm else {}
    return {f"{theirs}.{name}": f"{ours}.{its}" for name, its in names.items()}


def encoders(theirs: str = "{}", ours: str = "encoders") -> dict[str, str]:
    """Return the modules of the encoders of the three modalities."""
    return {theirs.format(letter): f"{ours}.{name}" for letter, name in LETTERS.items()}


def cascade(theirs: str, ours: str, blocks: int = 5) -> dict[str, str]:
    """Return the modules of a cascade of residual autoencoders."""
    parts = {f"{part}_{n}": f"{part}s.{n}" for n in range(blocks) for part in ("encoder", "decoder")}
    return {f"{theirs}.{name}": f"{ours}.{its}" for name, its in (parts | {"transition": "transition"}).items()}


class MMINTeacher(Family):
    """The teacher of MMIN."""

    repository, module, kind = "MMIN", "models.utt_fusion_model", "UttFusionModel"
    options = {"beta1": 0.9, "dropout_rate": 0.3}
    modules = encoders() | classifier("C", "classifier")


class MMIN(Family):
    """MMIN."""

    repository, module, kind = "MMIN", "models.mmin_model", "MMINModel"
    options = {"dropout_rate": 0.5, "mse_weight": 4.0, "cycle_weight": 2.0}
    modules = encoders() | classifier("C", "classifier") | cascade("AE", "imagination") | cascade("AE_cycle", "cycle")


class MMINAE(Family):
    """MMIN with plain autoencoders."""

    repository, module, kind = "MMIN", "models.mmin_AE_model", "MMINAEModel"
    options = {**MMIN.options, "lr": 1e-3, "AE_layers": "512,450,384,256"}
    hyperparameters = {"mask_padding": False, "initialisation": "normal"}
    modules = encoders() | classifier("C", "classifier") | {"AE": "imagination", "AE_cycle": "cycle"}


class IFMMINTeacher(Family):
    """The teacher of IF-MMIN."""

    repository, module, kind = "IF-MMIN", "models.utt_shared_model", "UttSharedModel"
    options = MMINTeacher.options
    modules = encoders() | classifier("C", "classifier") | {"Shared": "invariant"}


class IFMMIN(Family):
    """IF-MMIN."""

    repository, module, kind = "IF-MMIN", "models.IFMMIN_model", "IFMMINModel"
    options = {"dropout_rate": 0.5, "invariant_weight": 100.0}
    modules = encoders() | classifier("C", "classifier") | cascade("AE", "imagination") | {"invariant": "invariant"}


class CIFMMINTeacher(Family):
    """The teacher of CIF-MMIN."""

    repository, module, kind = "CIF-MMIN", "models.utt_self_supervise_model", "UttSelfSuperviseModel"
    options = MMINTeacher.options
    modules = (
        encoders()
        | encoders("Con{}", "contrastive")
        | classifier("C", "classifier")
        | {"SharedA": "projections.audio", "SharedT": "projections.text", "SharedV": "projections.vision"}
    )


class CIFMMIN(Family):
    """CIF-MMIN, whose file imports a module that is not there."""

    repository, module, kind = "CIF-MMIN", "models.our.CIF_MMIN_model", "CIFMMINModel"
    options = {"dropout_rate": 0.5, "mse_weight": 8.0, "consistent_weight": 100.0}
    hyperparameters = {"mask_padding": False, "text_pool": "last"}
    stubs = {"models.utt_AVL_model": stub("utt_AVL_model", UttAVLModel=None)}
    modules = (
        encoders() | encoders("Con{}", "contrastive") | classifier("C", "classifier") | cascade("AE", "imagination")
    )


class Unchanging(nn.Module):
    """The diffusion network of NMER's teacher: here without weights, and without any change of its input."""

    def __init__(self, **_: Any) -> None:
        super().__init__()

    def cuda(self, device: Any = None) -> "Unchanging":
        """Stay where it is."""
        return self

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Any:
        """Return what is added to the input."""
        return SimpleNamespace(sample=torch.zeros_like(x))


class Scheduler:
    """A noise scheduler that adds none: the noise is in the inputs already."""

    def __init__(self, num_train_timesteps: int = 1000, **_: Any) -> None:
        self.num_train_timesteps = num_train_timesteps

    def add_noise(self, x: Tensor, *_: Any) -> Tensor:
        """Return the values."""
        return x


class Decoder(nn.Module):
    """The decoder of NMER, which the released code does not have."""

    def __init__(self, latent: int, hidden: int, width: int, condition: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(latent + condition, hidden), nn.LeakyReLU(), nn.Linear(hidden, width), nn.Sigmoid()
        )

    def forward(self, z: Tensor, condition: Tensor) -> Tensor:
        """Generate [B, width]."""
        return self.layers(torch.cat([z, condition], 1))


TWO_SPACES = encoders("{}_spec", "specific") | encoders("{}_inv", "invariant")
DIFFUSERS = {"diffusers": stub("diffusers", UNet2DConditionModel=Unchanging, DDPMScheduler=Scheduler)}


class NMERTeacher(Family):
    """The teacher of NMER without its diffusion network, which we have not either; its batch has 64 utterances."""

    repository, module, kind = "Noise-robust_MER", "models.utt_shared_002_model", "UttShared002Model"
    options = {"beta1": 0.9, "dropout_rate": 0.2}
    stubs = DIFFUSERS
    modules = TWO_SPACES | {"Shared": "shared"} | classifier("C", "classifier")
    batch = 64

    def make(self, folder: Path, spec: DataSpec, corpus: str) -> nn.Module:
        """Build the class; its optimizer lacks weights of the diffusion network, and its clipping, too."""
        model = super().make(folder, spec, corpus)
        model.model.model_names.remove("Diff")
        return model


class NMER(Family):
    """NMER, whose utterances of a batch attend to each other; noise is added before, and a prediction draws none."""

    repository, module, kind = "Noise-robust_MER", "models.NMER_model", "NMERModel"
    options = {"dropout_rate": 0.1, "invariant_weight": 1.0, "num_time_step": 100, "noise_type": "gaussian"}
    hyperparameters = {"mask_padding": False, "batch_attention": True, "kl_reduction": "sum"}
    stubs = DIFFUSERS | {"Domiss": stub("Domiss", NoiseScheduler=Scheduler)}
    modules = (
        TWO_SPACES
        | {"invariant": "shared"}
        | classifier("C", "classifier", batch_norm=True)
        | {"VAE.encoder": "autoencoder.transformer", "VAE.fc_mu": "autoencoder.mean"}
        | {"VAE.fc_var": "autoencoder.log_variance", "VAE.decoder": "autoencoder.decoder"}
    )
    unread = ("VAE.fc_out",)

    def make(self, folder: Path, spec: DataSpec, corpus: str) -> nn.Module:
        """Build NMER with a decoder, and without drawing in a prediction."""
        vae = imported(folder, "models.vae_model", stubs=self.stubs)
        vae.Decoder = Decoder
        self.stubs = {**type(self).stubs, "models.vae_model": vae}
        model = super().make(folder, spec, corpus)
        draw = model.VAE.reparameterize
        model.VAE.reparameterize = lambda mean, log: draw(mean, log) if model.training else mean
        return model


class AE(Family):
    """The autoencoder baseline of GCNet, on utterance vectors."""

    repository, inner, module, kind = "GCNet", "baseline-mmin", "models.mmin_AE_model", "MMINAEModel"
    options = {
        **{"dataset_mode": "iemocapfour_miss", "dropout_rate": 0.5, "lr": 1e-3, "mse_weight": 0.01},
        **{"AE_layers": "256,128"},
    }
    hyperparameters = {"dropout": 0.5, "initialisation": "normal"}
    modules = {
        theirs: ours
        for letter, name in LETTERS.items()
        for part in (classifier(letter, f"encoders.{name}"), classifier(2 * letter, f"decoders.{name}"))
        for theirs, ours in part.items()
    } | {"AE": "autoencoder", **classifier("C", "classifier")}

    def sizes(self, spec: DataSpec) -> DataSpec:
        """Return the sizes of one vector per modality."""
        return replace(spec, length=dict.fromkeys(MODALITIES, 1))

    def inputs(self, model: nn.Module, batch: Batch) -> Any:
        """Set the vectors [B, d] and what is missing."""
        their, clean, available = model.model, batch.clean or batch, batch.rate < 1
        their.label = batch.label
        for column, (letter, name) in enumerate((("L", "text"), ("A", "audio"), ("V", "vision"))):
            setattr(their, f"{letter}_full", getattr(clean, name).values.squeeze(1))
            setattr(their, f"{letter}_miss", getattr(batch, name).values.squeeze(1))
            setattr(their, f"{letter}_miss_index", available[:, column, None].long())
        return None


class CRA(AE):
    """The cascaded residual autoencoder of GCNet."""

    module, kind = "models.mmin_CRA_model", "MMINCRAModel"
    modules = {theirs: ours for theirs, ours in AE.modules.items() if theirs != "AE"} | cascade("AE", "autoencoder")


RELEASED = {
    "ae": AE(),
    "cif_mmin": CIFMMIN(),
    "cif_mmin_teacher": CIFMMINTeacher(),
    "cra": CRA(),
    "if_mmin": IFMMIN(),
    "if_mmin_teacher": IFMMINTeacher(),
    "mmin": MMIN(),
    "mmin_ae": MMINAE(),
    "mmin_teacher": MMINTeacher(),
    "nmer": NMER(),
    "nmer_teacher": NMERTeacher(),
}
