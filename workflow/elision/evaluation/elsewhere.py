"""The test split of another dataset, as a method sees it that was trained on the first (``test_on``)."""

from collections.abc import Iterable
from dataclasses import replace

from elision.errors import ElisionError
from elision.provenance import kept
from elision.provenance.recipe import Recipes
from elision.store import Sequences, Store


def check(recipes: Recipes, datasets: Iterable[str] | None = None) -> None:
    """Refuse tests between datasets that differ in features or classes, where both are prepared and up to date.

    Parameters
    ----------
    recipes : Recipes
    datasets : iterable of str, optional
        Check only tests that one of them takes part in; by default all.

    Raises
    ------
    ElisionError
        See `as_trained`.
    """
    layout = recipes.layout
    chosen = set(recipes.params.datasets if datasets is None else datasets)
    for dataset, tested_on in recipes.params.tests.values():
        pair = dataset, tested_on
        if dataset == tested_on or not chosen & {*pair}:
            continue
        made = [kept.identity(layout.samples(name)) for name in pair]
        if made == [recipes.store(name)["identity"] for name in pair]:
            trained, tested = (Store.open(layout.store(name)) for name in pair)
            as_trained(trained, tested, names=pair)


def as_trained(trained: Store, tested: Store, *, names: tuple[str, str]) -> Store:
    """Return the store that is tested with the padded lengths of the store of the training.

    Parameters
    ----------
    trained, tested : Store
    names : tuple of (str, str)
        Of both datasets, for messages.

    Raises
    ------
    ElisionError
        If the datasets differ in classes, modalities, dimensions or tokens, or if a sequence is longer than those of
        the training.
    """
    differ = _differences(trained, tested, names)
    if differ:
        ours, theirs = names
        raise ElisionError(
            f"datasets.{ours}.test_on: {theirs} cannot test what is trained on {ours}: {'; '.join(differ)}. Prepare "
            f"both with the same features, or leave {theirs} out of test_on"
        )
    padded = {name: trained.modalities[name].header.length for name in trained.modalities}
    modalities = {name: _padded(sequences, padded[name]) for name, sequences in tested.modalities.items()}
    return replace(tested, modalities=modalities)


def _padded(sequences: Sequences, length: int) -> Sequences:
    return replace(sequences, header=sequences.header.model_copy(update={"length": length}))


def _differences(trained: Store, tested: Store, names: tuple[str, str]) -> list[str]:
    """Say in what two stores differ that a method must find alike."""
    stores = dict(zip(names, (trained, tested), strict=True))

    def compared(what: str, values: list[str]) -> list[str]:
        told = " and ".join(f"{value or 'none'} ({name})" for name, value in zip(names, values, strict=True))
        return [f"{what}: {told}"] if values[0] != values[1] else []

    found = compared("classes", [", ".join(store.classes) for store in stores.values()])
    found += compared("modalities", [", ".join(store.modalities) for store in stores.values()])
    for name in (name for name in trained.modalities if name in tested.modalities):
        pair = [store.modalities[name] for store in stores.values()]
        if any(sequences.values.ndim == 1 for sequences in pair):
            tokens = [f"tokens of {s.header.extractor}" if s.values.ndim == 1 else "vectors" for s in pair]
            found += compared(name, tokens)
        found += compared(f"dimensions of {name}", [str(sequences.width) for sequences in pair])
        longest, most = int(pair[1].lengths.max(initial=0)), pair[0].header.length
        if longest > most:
            found.append(f"{name} has up to {longest} positions in {names[1]}, and at most {most} in {names[0]}")
    return found
