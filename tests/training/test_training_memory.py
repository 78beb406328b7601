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
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.ones(32 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc is told")
def test_freed_memory_is_used_again():
    pages = int(subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True).stdout)
    assert pages < (128 << 20) // 4096, "each array took its pages from the system again"
