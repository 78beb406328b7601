"""Text encoders: from token ids to one vector per token."""

from collections.abc import Callable
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from elision.batch import Sequence


class TextEncoder(nn.Module):
    """A Hugging Face encoder of the BERT kind that gives its last hidden states.

    Unknown tokens are attended like any other; padding is not. A row without any token attends its first position, so
    that attention is defined there: callers that pool must look at ``text.valid``. Token types are 0.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    pooler : bool
        Keep its pooler. Most methods do not use it, and it would be stored and never trained.

    Attributes
    ----------
    width : int
        Dimension of the hidden states.
    """

    def __init__(self, model: nn.Module, *, pooler: bool = False) -> None:
        super().__init__()
        if not pooler and getattr(model, "pooler", None) is not None:
            model.pooler = None
        self.model = model
        self.width = model.config.hidden_size

    @classmethod
    def load(cls, name: str, *, pooler: bool = False) -> "TextEncoder":
        """Load pretrained weights: ``minilm``, a local folder, or a Hugging Face id.

        Raises
        ------
        ElisionError
            If the encoder is neither on this machine nor on a hub that can be reached.
        """
        from transformers import AutoModel

        from elision.features.text import load_encoder_part

        return cls(load_encoder_part(AutoModel, name), pooler=pooler)

    def forward(self, text: Sequence, rewrite: dict[int, Callable[[Tensor], Tensor]] | None = None) -> Tensor:
        """Encode token ids [B, T] into [B, T, width] float32.

        Parameters
        ----------
        text : Sequence
        rewrite : dict of int to function, optional
            Functions of the hidden states [B, T, width], by depth: 0 rewrites the embeddings, k the output of layer k.
        """
        attended = text.valid.clone()
        attended[:, 0] |= ~text.valid.any(1)
        # What is added to the scores, [B, 1, T, T]: of a mask [B, T], transformers reads whether it hides anything.
        dtype = next(self.model.parameters()).dtype
        mask = torch.zeros_like(attended, dtype=dtype).masked_fill(~attended, torch.finfo(dtype).min)
        mask = mask[:, None, None].expand(-1, -1, attended.shape[1], -1)
        with ExitStack() as stack:
            for depth, function in (rewrite or {}).items():
                module = self.model.encoder.layer[depth - 1] if depth else self.model.embeddings
                hook = module.register_forward_hook(lambda _module, _input, output, function=function: function(output))
                stack.callback(hook.remove)
            return self.model(input_ids=text.values, attention_mask=mask).last_hidden_state

    def pool(self, hidden: Tensor) -> Tensor:
        """Pool hidden states [B, T, width] into [B, width]: a layer with tanh on the first token."""
        return self.model.pooler(hidden)

    def freeze_embeddings(self) -> None:
        """Stop training the embeddings of tokens, positions and types, and their layer norm."""
        self.model.embeddings.requires_grad_(False)


class StubEncoder(nn.Module):
    """No encoder: zeros of a given width, for counting a method's own parameters."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def freeze_embeddings(self) -> None:
        """Do nothing: there are none."""

    def forward(self, text: Sequence) -> Tensor:
        """Return zeros [B, T, width]."""
        return torch.zeros(*text.valid.shape, self.width, device=text.valid.device)
