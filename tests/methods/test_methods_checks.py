"""Every check finds the fault that it is for, released ones among them; a sound method has none."""

import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import tiny_methods  # one thread  # noqa: F401
import torch

from elision.methods.checks import Outcome, Subject, all_checks, check
from elision.methods.checks._check import Check, Finding, differs

GUIDE = Path(__file__).parents[2] / "docs" / "add-a-method.md"
SOUND = re.search(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)[1]

INIT, FUSED = (
    "        self.head = nn.Linear(h.width, spec.outputs)\n",
    "        return self.hidden(torch.cat(means, 1))\n",
)
LOSS = '        return {"sentiment": self.error(self.predict(batch).output, batch.label)}\n'
END = LOSS  # the last line of the file


def fused(code: str) -> tuple[str, str]:
    """Change the fused vectors, whose name is x."""
    return FUSED, f"        x = self.hidden(torch.cat(means, 1))\n{code}        return x\n"


class Fault(NamedTuple):
    check: str
    told: str
    changes: tuple[tuple[str, str], ...]


FAULTS = {
    # As in released code, line by line.
    "HME: similar utterances of the batch": Fault(
        "alone",
        "another one alone",
        (
            fused(
                "        near = torch.nn.functional.cosine_similarity(x[:, None], x[None], dim=2)\n"
                "        near = ((near >= 0.6) & ~torch.eye(len(x), dtype=torch.bool)).float()\n"
                "        x = x + near @ x / near.sum(1, keepdim=True).clamp(min=1)\n"
            ),
        ),
    ),
    "HME: noise at evaluation": Fault(
        "repeatable", "second evaluation", (fused("        x = x + 0.1 * torch.randn_like(x)\n"),)
    ),
    "CIDer: positions along the batch": Fault(
        "alone", "in another order", (fused("        x = x + 0.1 * torch.arange(len(x)).sin()[:, None]\n"),)
    ),
    "DiCMoR: mixing of channels that is never called, half of them copied": Fault(
        "gradients",
        "flow_mixing.weight gets no gradient",
        (
            (INIT, f"{INIT}        self.flow_mixing = nn.Conv1d(h.width, h.width, 1)\n"),
            (INIT, f"{INIT}        self.coupling = nn.Linear(h.width // 2, h.width // 2)\n"),
            fused("        a, b = x.chunk(2, 1)\n        x = torch.cat([a, b + self.coupling(a)], 1)\n"),
        ),
    ),
    "DiCMoR: class priors of zeros": Fault(
        "gradients",
        "prior.weight has a gradient of zero throughout",
        (
            (INIT, f"{INIT}        self.prior = nn.Linear(h.width, h.width)\n"),
            fused("        x = x - self.prior(torch.zeros_like(x))\n"),
        ),
    ),
    "MPLMM: prompts that stay zero": Fault(
        "gradients",
        "prompt has a gradient of zero throughout",
        (
            (
                INIT,
                f"{INIT}        self.prompt = nn.Parameter(torch.zeros(3, h.width))\n"
                "        self.mode = nn.Parameter(torch.zeros(h.width, h.width))\n",
            ),
            fused("        x = x + (self.prompt @ self.mode).mean(0)\n"),
        ),
    ),
    "P-RMF: weights of a proxy": Fault(
        "finite",
        "the output has NaN",
        (
            (INIT, f"{INIT}        self.log_variance = nn.Linear(h.width, h.width)\n"),
            fused(
                "        sigma = torch.stack([(0.5 * self.log_variance(m)).exp() for m in means])\n"
                "        weights = (1 / sigma).exp() / (1 / sigma).exp().sum(0)\n"
                "        x = x + (weights * torch.stack(means)).sum(0)\n"
            ),
        ),
    ),
    "P-RMF: reconstructors in no group": Fault(
        "optimizers",
        "rebuild.weight is in no group",
        (
            (INIT, f"{INIT}        self.rebuild = nn.Linear(h.width, h.width)\n"),
            fused("        x = x + self.rebuild(x)\n"),
            (
                END,
                f"{END}\n    def parameter_groups(self) -> list[dict]:\n"
                "        groups = super().parameter_groups()\n"
                "        own = {id(p) for p in self.rebuild.parameters()}\n"
                "        groups[0]['params'] = [p for p in groups[0]['params'] if id(p) not in own]\n"
                "        return groups\n",
            ),
        ),
    ),
    "QDRF: an alignment loss that is reported, never added": Fault(
        "loss_terms",
        "align = ",
        (
            (
                LOSS,
                "        x = self.fuse(batch)\n"
                "        align = (x.mean(1).sigmoid() - batch.text.observed.float().mean(1)).square().mean()\n"
                "        self.reported = align.detach()\n"
                f"{LOSS}",
            ),
        ),
    ),
    # Of other kinds.
    "a term that is left out of the loss": Fault(
        "loss_terms",
        "term 'size' is computed, but is not added",
        (
            (LOSS, f'{LOSS[:-2]}, "size": self.fuse(batch).square().mean()}}\n\n'),
            (
                "    def loss",
                "    def backward(self, terms: dict[str, Tensor]) -> None:\n"
                "        super().backward({'sentiment': terms['sentiment']})\n\n    def loss",
            ),
        ),
    ),
    "a term that depends on nothing": Fault(
        "loss_terms", "depends on no trainable parameter", ((LOSS, f'{LOSS[:-2]}, "none": batch.label.mean()}}\n'),)
    ),
    "labels in predictions": Fault(
        "blind", "with the labels", (fused("        x = x + 0.1 * batch.label.float()[:, None]\n"),)
    ),
    "flags of absent modalities that no table of noise knows of": Fault(
        "told", "write told_absent = True", (fused("        x = x * self.available(batch).float()[:, :1]\n"),)
    ),
    "flags that a method says it reads, and does not": Fault(
        "told", "remove told_absent = True", (('    name = "', '    told_absent = True\n    name = "'),)
    ),
    "complete input in predictions": Fault(
        "blind",
        "with the complete input",
        (fused("        x = x + batch.clean.audio.values.mean() if batch.clean else x\n"),),
    ),
    "complete input in the loss": Fault(
        "complete",
        "write needs_complete",
        ((LOSS, LOSS.replace("self.predict(batch)", "self.predict(batch.clean)")),),
    ),
    "predictions that are counted": Fault(
        "repeatable",
        "changes count",
        (
            (INIT, f"{INIT}        self.register_buffer('count', torch.zeros(()))\n"),
            fused("        self.count += 1\n"),
        ),
    ),
    "a hyperparameter that nothing reads": Fault(
        "hyperparameters",
        "tilt is never read",
        (
            (
                "        dropout: float",
                '        tilt: float = Field(0.5, description="nothing")\n        dropout: float',
            ),
        ),
    ),
    "a hyperparameter without a word": Fault(
        "hyperparameters", "width has no description", ((', description="size of the vector of each modality"', ""),)
    ),
    "a wrong default of a corpus": Fault(
        "hyperparameters", "corpus_defaults['mosei'] is wrong: width", (('{"width": 128}', '{"width": 0}'),)
    ),
    "an output of another shape": Fault(
        "finite",
        "shape",
        (("Prediction(self.readout(self.head(fused)), fused)", "Prediction(self.head(fused), fused)"),),
    ),
    "a division by the number of positions": Fault(
        "finite", "samples without any modality: the output has NaN", ((".clamp(min=1)", ""),)
    ),
    "a learning rate that grows": Fault(
        "optimizers",
        "learning_rate_factor goes from 1 to",
        ((END, f"{END}\n    def learning_rate_factor(self, epoch: int) -> float:\n        return float(epoch)\n"),),
    ),
    "dropout in a frozen text encoder": Fault(
        "frozen_encoder",
        "it has dropout",
        (
            (
                END,
                f"{END}\n    def train(self, mode: bool = True) -> Method:\n"
                "        return nn.Module.train(self, mode)\n",
            ),
        ),
    ),
    "padding that counts": Fault("padding", "changes with the padding", ((" * valid).sum(1)", ").sum(1)"),)),
    "a reason for nothing": Fault(
        "padding", "but padding changes no output", (("    small:", '    sees_padding = "of course"\n    small:'),)
    ),
    "features that never reach the prediction": Fault("fitting", "does not learn", (fused("        x = 0 * x\n"),)),
    "state that is not saved": Fault(
        "resuming",
        "goes on from a saved state",
        (
            (INIT, f"{INIT}        self.steps = 0\n"),
            (LOSS, f"        self.steps += 1\n{LOSS[:-2]}, 'more': self.steps * self.fuse(batch).square().mean()}}\n"),
        ),
    ),
    "gradients that are thrown away": Fault(
        "accumulation",
        "not the sum of two batches",
        (
            (
                END,
                f"{END}\n    def backward(self, terms: dict[str, Tensor]) -> None:\n"
                "        self.zero_grad()\n        super().backward(terms)\n",
            ),
        ),
    ),
    "fewer parameters than the released class": Fault(
        "counts", "instead of 1,000,000", (("    small:", '    official_counts = {"mosi": 1_000_000}\n    small:'),)
    ),
    "a line that fails": Fault(
        "alone",
        "an error is raised in methods/mine.py, line ",
        (fused("        x = x + self.nowhere\n"),),
    ),
}


@pytest.fixture
def outcome(add_method):
    """What a check finds in the method of the guide with changes."""

    def checked(name: str, *changes: tuple[str, str], facts: str = "") -> Outcome:
        text = SOUND
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new, 1)
        sys.modules.pop("elision.methods.mine", None)
        add_method("mine", text.replace("    small:", f"{facts}    small:", 1))
        return all_checks()[name].outcome([Subject.small("mine")])

    return checked


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_named(outcome, name, monkeypatch):
    monkeypatch.setattr("elision.methods.checks.fitting._EPOCHS", 10)
    fault = FAULTS[name]
    found = outcome(fault.check, *fault.changes)
    assert found.status == "failed"
    assert any(fault.told in finding.text for finding in found.findings), found.findings


@pytest.mark.parametrize("name", sorted(set(all_checks()) - {"fitting"}))  # the guide's own test fits it
def test_a_sound_method_passes(outcome, name):
    assert outcome(name).status in ("passed", "skipped")


def test_there_is_a_fault_for_every_check_that_runs_here():
    assert {fault.check for fault in FAULTS.values()} == set(all_checks()) - {"gpu"}


def test_a_declared_exception_is_told_with_its_reason_and_hides_nothing_else(outcome):
    unused = FAULTS["DiCMoR: mixing of channels that is never called, half of them copied"]
    facts = '    exceptions = {"gradients": {"flow_mixing.*": "the released class has it, unused"}}\n'
    found = outcome("gradients", *unused.changes, facts=facts)
    assert found.status == "declared"
    assert {finding.declared for finding in found.findings} == {"the released class has it, unused"}
    more = (INIT, f"{INIT}        self.other = nn.Linear(1, 1)\n")
    found = outcome("gradients", *unused.changes, more, facts=facts)
    assert found.status == "failed"
    assert [f.about for f in found.findings if not f.declared] == ["other.weight", "other.bias"]


def test_an_exception_that_is_no_longer_there_is_a_fault(outcome):
    found = outcome("gradients", facts='    exceptions = {"gradients": {"gone.*": "as released"}}\n')
    assert found.status == "failed" and "'gone.*'" in found.findings[0].text


def test_an_exception_of_a_check_that_does_not_exist_is_a_fault(outcome):
    found = outcome("hyperparameters", facts='    exceptions = {"gradient": {"gone.*": "as released"}}\n')
    assert "exceptions names the unknown check 'gradient'" in found.findings[0].text


def test_a_long_list_is_cut_and_counted(outcome):
    layers = "".join(f"        self.unused_{i} = nn.Linear(1, 1)\n" for i in range(20))
    found = outcome("gradients", (INIT, INIT + layers))
    assert len(found.findings) == 13 and found.findings[-1].text == "28 more findings are left out."


def test_one_outcome_per_check_and_a_document_that_reads_back(add_method):
    add_method("mine", SOUND)
    quick = {name: each for name, each in all_checks().items() if name != "fitting"}
    outcomes = [each.outcome(Subject.each("mine")) for each in quick.values()]
    assert [each.check for each in outcomes] == list(quick)
    assert [Outcome.of(each.document) for each in outcomes] == outcomes


def test_checks_leave_the_global_generator_as_it_is():
    before = torch.get_rng_state()
    subject = Subject.small("majority")
    assert {each.status for each in check([subject])} <= {"passed", "skipped"}
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("found", "expected", "told"),
    [
        ([1.0, 2.0], [1.0, 2.0], ""),
        ([1.0, 2.0], [1.0, 2.000009], ""),
        ([1.0, 2.0], [1.0, 2.1], "the difference is up to 0.1 (the values spread over 1.1)"),
        ([1e6], [1e6 + 5], ""),
        ([1e6], [1e6 + 50], "the difference is up to 50"),
        ([1.0], [float("nan")], "values are finite in one, but not in the other"),
        ([float("nan")], [float("nan")], ""),
        ([1.0], [1.0, 2.0], "the shape is [1] instead of [2]"),
        ([], [], ""),
    ],
)
def test_differences_are_told_beyond_rounding(found, expected, told):
    assert differs(torch.tensor(found), torch.tensor(expected)) == told


def test_an_error_of_a_check_names_what_it_did():
    class Broken(Check):
        name, place, holds = "broken", 0, "Nothing breaks."

        def findings(self, subject):
            yield Finding("first", "First.")
            raise ValueError("second")

    found = Broken().outcome([Subject.small("majority")])
    assert [each.text for each in found.findings] == ["First.", "an error is raised: ValueError: second"]
