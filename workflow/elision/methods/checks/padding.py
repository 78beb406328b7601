"""Padding changes a prediction only where the method says so."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from elision.batch import Batch, Sequence
from elision.methods.checks._check import Check, Finding, differs
from elision.methods.checks._subject import Subject
from elision.task import MODALITIES

_CUT = 2  # positions of padding that are cut


class Padding(Check):
    """Predict batches whose padding is cut; and leave out the padding of the text in the text encoder."""

    name, place = "padding", 100
    holds = "A prediction depends on padding only if the method says why (sees_padding)."

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Compare predictions with more and with less padding."""
        yield from _of_all_modalities(subject)
        if subject.is_trained and subject.cls.reads_text == "tokens":
            yield from _of_text_encoder(subject)


def _of_all_modalities(subject: Subject) -> Iterator[Finding]:
    lengths = {name: length - _CUT for name, length in subject.spec.length.items()}
    batch = subject.batch(4, lengths=lengths)
    cut = {
        name: Sequence(*(t[:, : lengths[name]] for t in (s.values, s.valid, s.observed)))
        for name in MODALITIES
        for s in [getattr(batch, name)]
    }
    method, reason = subject.ready, subject.cls.sees_padding
    with torch.no_grad():
        told = differs(method.predict(replace(batch, **cut)).output, method.predict(batch).output)
    if told and not reason:
        yield Finding("sees_padding", f"The output changes with the padding of a batch: {told}.")
    if told and reason:
        yield Finding("sees_padding", f"The output changes with the padding of a batch: {told}.", reason)
    if reason and not told:
        yield Finding("sees_padding", "The class has a reason in sees_padding, but padding changes no output.")


def _of_text_encoder(subject: Subject) -> Iterator[Finding]:
    """Compare with a text encoder that computes nothing where all texts of a batch are padded."""
    full, cut = subject.spec.length["text"], 2 * _CUT
    batch = subject.batch(lengths={"text": full - cut})
    batch = replace(batch, text=_known(batch), clean=replace(batch.clean, text=_known(batch.clean)))
    method = subject.make(finetune_text_encoder=False).eval()
    encoder, rewrites, widths, found = method.encoder, [], set(), {}
    encode = encoder._encode
    encoder._encode = lambda text, rewrite: (rewrites.extend(rewrite), encode(text, rewrite))[1]
    encoder.model.embeddings.register_forward_hook(lambda _module, given, _out: widths.add(given[0].shape[1]))
    for trims in dict.fromkeys((encoder.trims, False)):
        encoder.trims = trims
        with torch.random.fork_rng():
            torch.manual_seed(0)
            prediction = method.predict(batch)
            found[trims] = [prediction.output, prediction.representation, *method.loss(batch).values()]
    with_padding = found[False]
    for values in found.values():
        for one, other in zip(values, with_padding, strict=True):
            if told := differs(one, other):
                text = f"A text encoder that leaves out padding changes a prediction or a loss: {told}."
                yield Finding("text encoder", text)
    if widths != (expected := {full, full - cut} if len(found) == 2 and not rewrites else {full}):
        yield Finding("text encoder", f"The text encoder computes {sorted(widths)} positions, not {sorted(expected)}.")


def _known(batch: Batch) -> Sequence:
    """Return the text of a batch as the trainer gives it: its lengths are known."""
    return replace(batch.text, known_lengths=batch.text.lengths)
