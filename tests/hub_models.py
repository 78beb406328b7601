"""Tiny models of the hub with random weights, one of every family, made without a network."""

from collections.abc import Callable
from pathlib import Path

CARD = """---
license: apache-2.0
language: en
---
# A model of random weights
"""
SENTENCES = (
    "I really liked the first half of the movie, but the second one was awful.",
    "A wonderful film: so good that I was there twice!",
)
_SIZES = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def _wav2vec2(folder: Path) -> object:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    return _speech(folder, Wav2Vec2Model, Wav2Vec2Config)


def _hubert(folder: Path) -> object:
    from transformers import HubertConfig, HubertModel

    return _speech(folder, HubertModel, HubertConfig)


def _wavlm(folder: Path) -> object:
    from transformers import WavLMConfig, WavLMModel

    return _speech(folder, WavLMModel, WavLMConfig)


def _speech(folder: Path, model: type, config: type) -> object:
    """Make a model whose convolutions have the kernels and strides of the released ones: 320 samples per frame."""
    from transformers import Wav2Vec2FeatureExtractor

    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    positions = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2, "vocab_size": 8}
    return model(config(**_SIZES, conv_dim=(8,) * 7, **positions))


def _whisper(folder: Path) -> object:
    """Make a Whisper that hears windows of one second."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    WhisperFeatureExtractor(feature_size=8, chunk_length=1).save_pretrained(folder)
    sizes = {"d_model": 16, "encoder_layers": 4, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "num_mel_bins": 8}
    ends = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 1)
    return WhisperModel(WhisperConfig(**sizes, **heads, **ends, vocab_size=8, max_source_positions=50))


def _clip(folder: Path) -> object:
    from transformers import CLIPConfig, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    text = {**_SIZES, **ids, "vocab_size": 16, "max_position_embeddings": 8}
    return CLIPModel(CLIPConfig(text_config=text, vision_config={**_SIZES, "image_size": 32, "patch_size": 8}))


def _dinov2(folder: Path) -> object:
    from transformers import Dinov2Config, Dinov2Model
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil

    BitImageProcessorPil(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return Dinov2Model(Dinov2Config(**_SIZES, image_size=32, patch_size=8))


def _videomae(folder: Path) -> object:
    from transformers import VideoMAEConfig, VideoMAEModel
    from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

    VideoMAEImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return VideoMAEModel(VideoMAEConfig(**_SIZES, image_size=32, patch_size=8, num_frames=4, tubelet_size=2))


def _byte_level(folder: Path, **special: str) -> int:
    """Train and save a byte-level tokenizer, as RoBERTa and Qwen have; returns the size of its vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=list(_SPECIAL), initial_alphabet=alphabet)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    if "cls_token" in special:
        tokenizer.post_processor = TemplateProcessing(
            single="<s> $A </s>", special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
        )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", **special).save_pretrained(folder)
    return tokenizer.get_vocab_size()


def _roberta(folder: Path) -> object:
    from transformers import RobertaConfig, RobertaModel

    size = _byte_level(folder, cls_token="<s>", sep_token="</s>", unk_token="<unk>")
    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    return RobertaModel(RobertaConfig(**_SIZES, **ids, vocab_size=size, max_position_embeddings=26, type_vocab_size=1))


def _deberta(folder: Path) -> object:
    from transformers import DebertaV2Config, DebertaV2Model

    size = _byte_level(folder, cls_token="<s>", sep_token="</s>", unk_token="<unk>")
    relative = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}
    config = DebertaV2Config(
        **_SIZES, **relative, vocab_size=size, max_position_embeddings=64, type_vocab_size=0, pad_token_id=1
    )
    return DebertaV2Model(config)


def _qwen(folder: Path) -> object:
    from transformers import Qwen2Config, Qwen2Model

    size = _byte_level(folder, eos_token="</s>")
    return Qwen2Model(Qwen2Config(**_SIZES, num_key_value_heads=2, vocab_size=size, max_position_embeddings=64))


SOUND: dict[str, Callable[[Path], object]] = {
    "wav2vec2": _wav2vec2,
    "hubert": _hubert,
    "wavlm": _wavlm,
    "whisper": _whisper,
}
PICTURE: dict[str, Callable[[Path], object]] = {"clip": _clip, "dinov2": _dinov2, "videomae": _videomae}
TEXT: dict[str, Callable[[Path], object]] = {"roberta": _roberta, "deberta": _deberta, "qwen": _qwen}


def make(family: str, folder: Path, *, card: str = CARD) -> str:
    """Save a model of a family, its processor and its card in a folder; returns the folder.

    Random weights of the usual size would leave all layers alike, and hide errors: these are larger.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = (SOUND | PICTURE | TEXT)[family](folder)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.ndim > 1 and "conv" not in name:
                weights.normal_(0, 0.2)
    model.save_pretrained(folder)
    (folder / "README.md").write_text(card)
    return str(folder)
