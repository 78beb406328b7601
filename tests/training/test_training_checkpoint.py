import pytest
import torch

from elision.errors import ElisionError
from elision.training.checkpoint import load_state, save_state


def test_a_damaged_state_is_named_and_one_of_other_settings_is_none(tmp_path):
    path = tmp_path / "state.pt"
    assert load_state(path, "mine") is None
    save_state(path, {"identity": "mine", "model": {"weight": torch.arange(50.0)}})
    assert load_state(path, "mine")["model"]["weight"][7] == 7
    assert load_state(path, "other") is None
    whole = path.read_bytes()
    for fiftieth in range(50):
        path.write_bytes(whole[: len(whole) * fiftieth // 50])
        with pytest.raises(ElisionError, match=r"state\.pt cannot be read.*Delete the file; the run then begins again"):
            load_state(path, "mine")
