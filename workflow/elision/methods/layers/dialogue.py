"""What methods share that read the utterances of a dialogue together."""

from typing import Literal

from pydantic import Field

from elision.batch import Batch, Dialogues
from elision.methods.base import Method, TrainingHyperparameters


class DialogueHyperparameters(TrainingHyperparameters):
    """What the data loader reads of a method that reads dialogues."""

    batch_size: int = Field(32, ge=1, description="dialogues per forward pass")
    dialogues: Literal["dataset", "none"] = Field(
        "dataset",
        description="which utterances are read together. dataset: those of a dialogue, which the dataset must "
        "name. none: every utterance is a dialogue of its own",
    )


class DialogueMethod(Method):
    """A method whose batches hold whole dialogues; ``batch.dialogues`` says how.

    Its prediction of an utterance follows from the dialogue of that utterance, whatever other dialogues are in its
    batch. Losses and predictions are per utterance, as of any method.
    """

    reads = "dialogues"

    class Hyperparameters(DialogueHyperparameters, Method.Hyperparameters):
        """Those of every method, with the meaning that they have for dialogues."""

    def dialogues(self, batch: Batch) -> Dialogues:
        """Return the dialogues of a batch."""
        if self.hyperparameters.dialogues == "none" or batch.dialogues is None:
            return Dialogues.alone(len(batch), batch.label.device)
        return batch.dialogues
