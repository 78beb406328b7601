"""Weights and states on disk: what resumes a run, and what a finished run leaves."""

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from elision.errors import ElisionError
from elision.files import replacing


def save_state(path: Path, state: dict) -> None:
    """Write the state of an unfinished run, atomically."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        torch.save(state, file)


def load_state(path: Path, identity: str) -> dict | None:
    """Read the state of an unfinished run; None if there is none, or it belongs to other settings.

    Parameters
    ----------
    path : Path
    identity : str
        Identity of the run's recipe: a state with another one is of no use.

    Raises
    ------
    ElisionError
        If the file is damaged.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return state if state["identity"] == identity else None
    except Exception as error:  # what PyTorch raises depends on where the damage is
        raise ElisionError(
            f"{path} cannot be read ({error!r}); the disk may be damaged. Delete the file; the run then begins again"
        ) from error


def save_weights(path: Path, method: nn.Module) -> None:
    """Write the weights and buffers of a method, atomically; without the text encoder, if it is as it was loaded."""
    frozen = not (method.stores_encoder or any(p.requires_grad for p in method.encoder.parameters()))
    state = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in method.state_dict().items()
        if not (frozen and name.startswith("encoder."))
    }
    with replacing(path) as temporary:
        save_file(state, temporary)


def merge_weights(parts: dict[str, Path], path: Path) -> None:
    """Join the weights of several checkpoints in one file, as ``{checkpoint}/{parameter}``."""
    tensors = {f"{name}/{key}": tensor for name, part in parts.items() for key, tensor in load_file(part).items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary)


def load_run_weights(path: Path, checkpoint: str, method: nn.Module) -> None:
    """Load one checkpoint of a finished run into a method that was built with the same settings.

    Raises
    ------
    ElisionError
        If the file holds weights of another architecture.
    """
    prefix = f"{checkpoint}/"
    with safe_open(path, "pt") as file:
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
        state = {name.removeprefix(prefix): file.get_tensor(name) for name in names}
    own = method.state_dict()
    if not any(name.startswith("encoder.") for name in state):
        own = {name: tensor for name, tensor in own.items() if not name.startswith("encoder.")}
    shapes, saved = ({name: tuple(t.shape) for name, t in tensors.items()} for tensors in (own, state))
    if differ := sorted(name for name in {*shapes, *saved} if shapes.get(name) != saved.get(name)):
        raise ElisionError(
            f"{path} has the weights of another architecture ({len(differ)} tensors differ, such as "
            f"{', '.join(differ[:3])}). Train the run again: snakemake --cores all --force {path}"
        )
    method.load_state_dict(state, strict=False)
