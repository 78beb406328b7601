"""The methods of MMSA (thuiar/MMSA) that we have, with its configurations and training loops, without text encoder."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig

from elision.batch import Batch
from elision.task import DataSpec
from released import Given, Released, Settings, Through, imported, stub

SHORT = {"l": "text", "a": "audio", "v": "vision"}
PAIRS = [("l", "a"), ("l", "v"), ("a", "l"), ("a", "v"), ("v", "l"), ("v", "a")]
BARE = (
    "MMSA",
    *(f"MMSA.{part}.{kind}Task" for part in ("models", "trains") for kind in ("single", "multi", "missing")),
)


class MMSA(Released):
    """What the methods share.

    Attributes
    ----------
    key, path : str
        Key in the configuration file; module of model and of training loop.
    clip_value, clip_norm : str
        Key of the largest entry, or of the largest norm, of the gradient; empty: no limit.
    """

    repository = "MMSA"
    hyperparameters = {"accumulate": 1}
    key: str
    path: str
    clip_value, clip_norm = "", ""

    def settings(self, folder: Path, spec: DataSpec, corpus: str) -> Settings:
        """Return the configuration for a corpus, as MMSA puts it together, with our lengths."""
        path = folder / "src" / "MMSA" / "config" / "config_regression.json"
        every = json.loads(path.read_text(encoding="utf-8"))
        common, data = every[self.key]["commonParams"], every["datasetCommonParams"][corpus]
        data = data["aligned" if common["need_data_aligned"] and "aligned" in data else "unaligned"]
        settings = Settings({**data, **common, **every[self.key]["datasetParams"][corpus]})
        settings |= {"train_mode": "regression", "device": "cpu", "dataset_name": corpus.upper(), "use_finetune": True}
        return settings | {"seq_lens": [spec.length[name] for name in SHORT.values()]}

    def load(self, folder: Path, part: str) -> Any:
        """Import the module of the model or of the training loop."""
        transformers = stub(
            "pytorch_transformers", BertConfig=BertConfig, BERT_PRETRAINED_MODEL_ARCHIVE_MAP={}, __path__=[]
        )
        modeling = stub("modeling_utils", PreTrainedModel=PreTrainedModel, prune_linear_layer=None)
        stubs = {"pytorch_transformers": transformers, "pytorch_transformers.modeling_utils": modeling}
        return imported(folder / "src", f"MMSA.{part}.{self.path}", bare=BARE, stubs=stubs | {"pynvml": stub("pynvml")})

    def make(self, folder: Path, spec: DataSpec, corpus: str) -> nn.Module:
        """Build the class."""
        self.args = Settings(self.settings(folder, spec, corpus))
        module = self.load(folder, "models")
        module.BertTextEncoder = lambda *_, **__: Given()
        return self.build(module, folder)

    def build(self, module: Any, folder: Path) -> nn.Module:
        """Build the class of a module."""
        return getattr(module, self.key.upper())(self.args)

    def text(self, batch: Batch) -> Tensor:
        """Return ids, mask and types of the text [B, 3, T]."""
        mask = batch.text.valid.float()
        return torch.stack([torch.zeros_like(mask), mask, torch.zeros_like(mask)], 1)

    def inputs(self, model: nn.Module, batch: Batch) -> Any:
        """Return text, audio and vision."""
        return self.text(batch), batch.audio.values, batch.vision.values

    def predict(self, model: nn.Module, inputs: Any) -> Tensor:
        """Return scores [B, 1]."""
        return model(*inputs)["M"]

    def loss(self, model: nn.Module, inputs: Any, batch: Batch) -> Tensor:
        """Return the absolute error."""
        return F.l1_loss(self.predict(model, inputs), batch.label[:, None])

    def clip(self, model: nn.Module) -> None:
        """Limit the gradients as the configuration says."""
        if self.clip_value:
            nn.utils.clip_grad_value_(model.parameters(), self.args[self.clip_value])
        if self.clip_norm:
            nn.utils.clip_grad_norm_(model.parameters(), self.args[self.clip_norm])


class PreTrainedModel(nn.Module):
    """What CENET needs of the class of the same name in pytorch_transformers, which is no longer kept."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    def init_weights(self) -> None:
        """Draw the weights."""
        self.apply(self._init_weights)


def lengths(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the lengths of audio and vision."""
    return batch.audio.lengths_on_cpu, batch.vision.lengths_on_cpu


def transformer(theirs: str, ours: str, layers: int) -> dict[str, str]:
    """Return the modules of a crossmodal transformer."""
    names = {"self_attn.in_proj_weight": "project.weight", "self_attn.in_proj_bias": "project.bias"}
    names |= {"self_attn.out_proj": "out", "fc1": "expand", "fc2": "contract"}
    names |= {"layer_norms.0": "norm", "layer_norms.1": "norm_feed_forward"}
    inner = {
        f"{theirs}.layers.{layer}.{name}": f"{ours}.layers.{layer}.{its}"
        for layer in range(layers)
        for name, its in names.items()
    }
    return inner | {f"{theirs}.layer_norm": f"{ours}.norm"}


class MulT(MMSA):
    """MulT; its text is given."""

    key, path, clip_value = "mult", "singleTask.MULT", "grad_clip"

    def make(self, folder: Path, spec: DataSpec, corpus: str) -> nn.Module:
        """Build MulT."""
        model = super().make(folder, spec, corpus)
        layers = self.args.nlevels
        self.modules = {f"proj_{short}": f"projections.{name}" for short, name in SHORT.items()}
        for target, source in PAIRS:
            ours = f"crossmodal.{SHORT[target]}_from_{SHORT[source]}"
            self.modules |= transformer(f"trans_{target}_with_{source}", ours, layers)
        for short, name in SHORT.items():
            self.modules |= transformer(f"trans_{short}_mem", f"memory.{name}", max(layers, 3))
        self.modules |= {"proj1": "residual.0", "proj2": "residual.3", "out_layer": "out"}
        model.text_model, model.use_bert = Given(), True
        return model


class MISA(MMSA):
    """MISA, whose six vectors lie in another order."""

    key, path, clip_value = "misa", "singleTask.MISA", "grad_clip"
    modules = {
        **{
            f"{short}{theirs}": f"recurrent.{SHORT[short]}.{ours}"
            for short in "av"
            for theirs, ours in (("rnn1", "first"), ("layer_norm", "norm"), ("rnn2", "second"))
        },
        **{
            f"{theirs}_{name[0]}": f"{ours}.{name}"
            for theirs, ours in (("project", "projection"), ("private", "private"), ("recon", "reconstructor"))
            for name in SHORT.values()
        },
        "shared": "shared",
        "transformer_encoder": "transformer",
        "fusion": "head",
    }
    unread = ("sp_discriminator", "tlayer_norm")

    def build(self, module: Any, folder: Path) -> nn.Module:
        """Build MISA and its training loop."""
        model = super().build(module, folder)
        self.trainer = self.load(folder, "trains").MISA(self.args)
        self.trainer.model = Settings(Model=model)
        return model

    def arrange(self, ours: nn.Module) -> None:
        """Text, vision, audio there; text, audio, vision here."""
        parts = ours.head[0].weight.data.chunk(6, 1)
        ours.head[0].weight.data.copy_(torch.cat([parts[n] for n in (0, 2, 1, 3, 5, 4)], 1))

    def loss(self, model: nn.Module, inputs: Any, batch: Batch) -> Tensor:
        """Return the four terms."""
        trainer, args = self.trainer, self.args
        found = F.mse_loss(self.predict(model, inputs), batch.label[:, None])
        found = found + args.diff_weight * trainer.get_diff_loss() + args.sim_weight * trainer.get_cmd_loss()
        return found + args.recon_weight * trainer.get_recon_loss()


def heads() -> dict[str, str]:
    """Return the modules of the four heads of Self-MM and TETFN."""
    names = {"fusion": "fusion", "text": "text", "audio": "audio", "video": "vision"}
    layers = {"1": "feature", "2": "hidden", "3": "out"}
    return {
        f"post_{theirs}_layer_{number}": f"heads.{ours}.{layer}"
        for theirs, ours in names.items()
        for number, layer in layers.items()
    }


class SelfMM(MMSA):
    """Self-MM, with its memory of labels and features in the second epoch."""

    key, path = "self_mm", "multiTask.SELF_MM"
    modules = {
        "audio_model.rnn": "audio_subnet.lstm",
        "audio_model.linear_1": "audio_subnet.out",
        "video_model.rnn": "vision_subnet.lstm",
        "video_model.linear_1": "vision_subnet.out",
        **heads(),
    }

    def build(self, module: Any, folder: Path) -> nn.Module:
        """Build the model and its training loop."""
        self.trainer = getattr(self.load(folder, "trains"), self.key.upper())(self.args)
        return super().build(module, folder)

    def inputs(self, model: nn.Module, batch: Batch) -> Any:
        """Return the text, and audio and vision with their lengths."""
        audio, vision = lengths(batch)
        return self.text(batch), (batch.audio.values, audio), (batch.vision.values, vision)

    def step(self, model: nn.Module, inputs: Any, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        """Learn, then generate labels, store features and move the centres."""
        trainer = self.trainer
        optimizer.zero_grad()
        outputs = model(*inputs)
        loss = 0.0
        for letter, head in trainer.name_map.items():
            labels = trainer.label_map[head][batch.index]
            loss = loss + trainer.weighted_loss(outputs[letter], labels, indexes=batch.index, mode=head)
        loss.backward()
        features = [outputs[f"Feature_{letter}"].detach() for letter in "ftav"]
        trainer.update_labels(*features, 2, batch.index, outputs)
        trainer.update_features(*features, batch.index)
        trainer.update_centers()
        optimizer.step()


class TETFN(SelfMM):
    """TETFN, trained as Self-MM."""

    key, path = "tetfn", "multiTask.TETFN"
    modules = {
        "audio_model.rnn": "audio_subnet.lstm",
        "audio_model.conv": "audio_subnet.convolution",
        "video_model.rnn": "vision_subnet.lstm",
        "video_model.conv": "vision_subnet.convolution",
        "proj_l": "text_projection",
        **{
            theirs: ours
            for a, b in (("l", "a"), ("l", "v"), ("a", "l"), ("v", "l"))
            for theirs, ours in transformer(f"trans_{a}_with_{b}", f"{SHORT[a]}_from_{SHORT[b]}", 2).items()
        },
        **{
            theirs: ours
            for a, b in (("a", "v"), ("v", "a"))
            for part, layers in (("lower", 1), ("upper", 2))
            for theirs, ours in transformer(
                f"trans_{a}_with_{b}.{part}_mha", f"{SHORT[a]}_from_{SHORT[b]}.{part}", layers
            ).items()
        },
        **{
            theirs: ours
            for short, name in SHORT.items()
            for theirs, ours in transformer(f"trans_{short}_mem", f"memories.{name}", 2).items()
        },
        **heads(),
    }


class MMIM(MMSA):
    """MMIM, in the second pass of an epoch, from the third batch on."""

    key, path, clip_norm = "mmim", "singleTask.MMIM", "grad_clip"
    modules = {
        "acoustic_enc.rnn": "audio_encoder.lstm",
        "acoustic_enc.linear_1": "audio_encoder.out",
        "visual_enc.rnn": "vision_encoder.lstm",
        "visual_enc.linear_1": "vision_encoder.out",
        **{
            f"mi_t{name[0]}.{theirs}": f"bounds.{name}.{ours}"
            for name in ("audio", "vision")
            for theirs, ours in (("mlp_mu", "mean"), ("mlp_logvar", "log_variance"), ("entropy_prj", "project"))
        },
        **{f"cpc_z{name[0]}.net": f"contrast.{name}" for name in SHORT.values()},
        "fusion_prj.linear_1": "fusion.hidden",
        "fusion_prj.linear_2": "fusion.feature",
        "fusion_prj.linear_3": "fusion.out",
    }

    def build(self, module: Any, folder: Path) -> nn.Module:
        """Build the model, without samples of earlier batches."""
        self.memory: dict[str, Any] = {"tv": None, "ta": None}
        return super().build(module, folder)

    def inputs(self, model: nn.Module, batch: Batch) -> Any:
        """Return the text, and audio and vision with their lengths."""
        audio, vision = lengths(batch)
        return self.text(batch), (batch.audio.values, audio), (batch.vision.values, vision)

    def loss(self, model: nn.Module, inputs: Any, batch: Batch) -> Tensor:
        """Return the loss of the second pass."""
        args, label = self.args, batch.label[:, None]
        found = model(*inputs, y=label, mem=self.memory)
        self.memory = {
            pair: {sign: [each.detach()] for sign, each in found["pn_dic"][pair].items()} for pair in ("tv", "ta")
        }
        loss = F.l1_loss(found["M"], label) + args.alpha * found["nce"] - args.beta * found["lld"]
        return loss - args.beta * found["H"]


class CENET(MMSA):
    """CENET, without the layers of its text encoder."""

    key, path = "cenet", "singleTask.CENET"
    hyperparameters = {}
    modules = {
        **{
            f"bert.encoder.CE.{theirs}_transform": f"enhancement.{ours}.embedding"
            for theirs, ours in (("acoustic", "audio"), ("visual", "vision"))
        },
        **{
            f"bert.encoder.CE.h{name[0]}.W{part[0]}": f"enhancement.{name}.{part}"
            for name in ("audio", "vision")
            for part in ("query", "key", "value")
        },
        "bert.encoder.CE.cat_connect": "enhancement.shift",
        "classifier.dense": "head.1",
        "classifier.out_proj": "out.1",
    }
    unread = ("bert.pooler",)

    def build(self, module: Any, folder: Path) -> nn.Module:
        """Build CENET around given hidden states."""
        config = BertConfig(num_hidden_layers=2, vocab_size=8, intermediate_size=8, num_labels=1)
        model = module.CENET(config, args=self.args)
        model.bert.embeddings, model.bert.encoder.layer = Given(), nn.ModuleList([Through(), Through()])
        return model

    def predict(self, model: nn.Module, inputs: Any) -> Tensor:
        """Return scores [B, 1]."""
        return model(*inputs)[0]

    def clip(self, model: nn.Module) -> None:
        """Limit the norm of the gradient to 2, as the loop does."""
        nn.utils.clip_grad_norm_(model.parameters(), 2)


class TFRNet(MMSA):
    """TFR-Net, from its second epoch on; nothing is missing, which takes the same time."""

    key, path, clip_value = "tfr_net", "missingTask.TFR_NET.model", "grad_clip"
    hyperparameters = {"accumulate": 1, "update": "accumulate", "temporal_attention": "batch"}

    def build(self, module: Any, folder: Path) -> nn.Module:
        """Build the model; one temporal head where the released number does not divide the length."""
        if any(length % self.args.num_temporal_head for length in self.args.seq_lens):
            self.args.num_temporal_head = 1
        layers = self.args.nlevels
        self.modules = {f"align_subnet.Model.proj_{short}": f"projection.{name}" for short, name in SHORT.items()}
        for target, source in PAIRS:
            ours = f"between.{SHORT[target]}_from_{SHORT[source]}"
            self.modules |= transformer(f"align_subnet.Model.trans_{target}_with_{source}", ours, layers)
        for short, name in SHORT.items():
            model = f"align_subnet.Model.trans_{short}"
            self.modules |= transformer(f"{model}_mem", f"within.{name}", max(layers, 3))
            self.modules |= transformer(f"{model}_final", f"temporal.{name}", max(layers, 3))
            self.modules[f"generator_{name[0]}.Model.linear"] = f"generator.{name}"
            for theirs, its in (("gru.gru", "gru"), ("cnn", "gate"), ("fc", "out")):
                self.modules[f"fusion_subnet.Model.{name}_encoder.{theirs}"] = f"summary.{name}.{its}"
        self.modules["fusion_subnet.Model.classifier"] = "head"
        return module.TFR_NET(self.args)

    def inputs(self, model: nn.Module, batch: Batch) -> Any:
        """Return the modalities twice, with their masks."""
        text, audio, vision = self.text(batch), batch.audio, batch.vision
        return (
            (text, text, batch.text.observed.float()),
            *((m.values, m.values, m.valid.float(), m.observed.float()) for m in (audio, vision)),
        )

    def predict(self, model: nn.Module, inputs: Any) -> Tensor:
        """Return scores [B, 1]; the class always reconstructs, too."""
        return model(*inputs)[0]

    def loss(self, model: nn.Module, inputs: Any, batch: Batch) -> Tensor:
        """Return the error of prediction and reconstruction."""
        found, reconstruction = model(*inputs)
        return F.l1_loss(found, batch.label[:, None]) + reconstruction.squeeze()


class MAGBERT(MMSA):
    """MAG-BERT, with its pooler and without the layers of its text encoder."""

    key, path = "bert_mag", "singleTask.BERT_MAG"
    hyperparameters = {}
    modules = {
        **{
            f"model.bert.MAG.W_{letter}{name[0]}": f"gate.{part}_{name}"
            for name in ("audio", "vision")
            for letter, part in (("h", "gate"), ("", "shift"))
        },
        "model.bert.MAG.LayerNorm": "gate.norm",
        "model.bert.pooler": "encoder.pooler",
        "model.classifier": "head.1",
    }

    def build(self, module: Any, folder: Path) -> nn.Module:
        """Build MAG-BERT around given hidden states."""
        config = BertConfig(num_hidden_layers=1, vocab_size=8, intermediate_size=8, num_labels=1)
        for cls in (module.MAG_BertModel, module.MAG_BertForSequenceClassification):
            cls.init_weights = lambda _: None  # that of transformers 5 needs what these classes do not call
        inner = module.MAG_BertForSequenceClassification(config, args=self.args)
        inner.bert.embeddings, inner.bert.encoder = Given(), Through()
        inner.bert.get_head_mask = inner.bert.get_extended_attention_mask = lambda *_: None  # no layer reads them
        model = module.BERT_MAG.__new__(module.BERT_MAG)
        nn.Module.__init__(model)
        model.model = inner
        return model


class TFN(MMSA):
    """TFN; its loader averages audio and vision."""

    key, path = "tfn", "singleTask.TFN"
    hyperparameters = {}
    modules = {
        "audio_subnet": "audio_subnet",
        "video_subnet": "vision_subnet",
        "text_subnet.rnn": "text_subnet.lstm",
        "text_subnet.linear_1": "text_subnet.out",
        "post_fusion_layer_1": "fusion.1",
        "post_fusion_layer_2": "fusion.3",
        "post_fusion_layer_3": "out",
    }
    unread = ("output_range", "output_shift")

    def build(self, module: Any, folder: Path) -> nn.Module:
        """Build TFN, with what gives its text."""
        model = super().build(module, folder)
        model.given = Given()
        return model

    def inputs(self, model: nn.Module, batch: Batch) -> Any:
        """Return hidden states of the text, and the mean frames of audio and vision."""
        return model.given(), batch.audio.values.mean(1, keepdim=True), batch.vision.values.mean(1, keepdim=True)


RELEASED = {
    "cenet": CENET(),
    "mag_bert": MAGBERT(),
    "misa": MISA(),
    "mmim": MMIM(),
    "mult": MulT(),
    "self_mm": SelfMM(),
    "tetfn": TETFN(),
    "tfn": TFN(),
    "tfr_net": TFRNet(),
}
