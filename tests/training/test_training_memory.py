import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from elision.training.run import keep_memory

keep_memory()
for _ in range(3):  # the heap grows
    torch.ones(32 << 20)  # 128 MB, freed at once
faults = [resource.getrusage(resource.RUSAGE_SELF).ru_minflt]
for _ in range(9):
    torch.ones(32 << 20)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
# The system may take pages of its own accord, but not every time.
print(min(after - before for before, after in zip(faults, faults[1:])))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc is told")
def test_freed_memory_is_used_again():
    pages = int(subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True).stdout)
    assert pages < 1000, "each array took its pages from the system again"
