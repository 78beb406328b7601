"""Text encoders: from token ids to one vector per token."""

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
        Its pooler is removed: no method uses it, and it would be stored and never trained.

    Attributes
    ----------
    width : int
        Dimension of the hidden states.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if getattr(model, "pooler", None) is not None:
            model.pooler = None
        self.model = model
        self.width = model.config.hidden_size

    @classmethod
    def load(cls, name: str) -> "TextEncoder":
        """Load pretrained weights: ``minilm``, a local folder, or a Hugging Face id.

        Raises
        ------
        ElisionError
            If the encoder is neither on this machine nor on a hub that can be reached.
        """
        from transformers import AutoModel

        from elision.features.text import load_encoder_part

        return cls(load_encoder_part(AutoModel, name))

    def forward(self, text: Sequence) -> Tensor:
        """Encode token ids [B, T] into [B, T, width] float32."""
        attended = text.valid.clone()
        attended[:, 0] |= ~text.valid.any(1)
        return self.model(input_ids=text.values, attention_mask=attended.long()).last_hidden_state


class StubEncoder(nn.Module):
    """No encoder: zeros of a given width, for counting a method's own parameters and for methods that read no text."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, text: Sequence) -> Tensor:
        """Return zeros [B, T, width]."""
        return torch.zeros(*text.valid.shape, self.width, device=text.valid.device)
