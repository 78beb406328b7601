"""Text encoders: from token ids to one vector per token."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elision.batch import Sequence

_REMEMBERED = 1 << 30  # bytes of hidden states, at most


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
    trims : bool
        In evaluation mode, compute nothing at positions that no text of a batch has: hidden states there are zeros.
        For a method that does not see padding.
    """

    def __init__(self, model: nn.Module, *, pooler: bool = False) -> None:
        super().__init__()
        self.trims = False
        self._remembered: dict[bytes, Tensor] | None = None
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
        usable = torch.is_inference_mode_enabled() and not torch.compiler.is_compiling()
        if rewrite or self._remembered is None or not usable:
            return self._encode(text, rewrite or {})
        key = sha256(text.values.cpu().numpy().tobytes() + text.valid.cpu().numpy().tobytes()).digest()
        if key not in self._remembered:
            hidden = self._encode(text, {})
            if sum(each.nbytes for each in self._remembered.values()) + hidden.nbytes > _REMEMBERED:
                return hidden
            self._remembered[key] = hidden
        return self._remembered[key].clone()

    def _encode(self, text: Sequence, rewrite: dict[int, Callable[[Tensor], Tensor]]) -> Tensor:
        padded = length = text.valid.shape[1]
        plain = not (self.training or rewrite or torch.compiler.is_compiling())  # what is compiled has one length
        if self.trims and plain and text.known_lengths is not None:
            length = max(1, int(text.known_lengths.max()))
        attended = text.valid[:, :length].clone()
        attended[:, 0] |= ~text.valid.any(1)
        # What is added to the scores, [B, 1, T, T]: of a mask [B, T], transformers reads whether it hides anything.
        dtype = next(self.model.parameters()).dtype
        mask = torch.zeros_like(attended, dtype=dtype).masked_fill(~attended, torch.finfo(dtype).min)
        mask = mask[:, None, None].expand(-1, -1, attended.shape[1], -1)
        with ExitStack() as stack:
            for depth, function in rewrite.items():
                module = self.model.encoder.layer[depth - 1] if depth else self.model.embeddings
                hook = module.register_forward_hook(lambda _module, _input, output, function=function: function(output))
                stack.callback(hook.remove)
            hidden = self.model(input_ids=text.values[:, :length], attention_mask=mask).last_hidden_state
        return hidden if length == padded else F.pad(hidden, (0, 0, 0, padded - length))

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Encode equal batches once in the block, in inference mode; weights must not change in it.

        States of the first 1 GiB are kept, those of further batches computed each time.
        """
        self._remembered = {}
        try:
            yield
        finally:
            self._remembered = None

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


def words_of(valid: Tensor) -> Tensor:
    """Return where a text has a word [B, L]: all valid positions but the first and the last one, [CLS] and [SEP]."""
    place = torch.arange(valid.shape[1], device=valid.device)
    return valid & (place > 0) & (place < valid.sum(1, keepdim=True) - 1)
