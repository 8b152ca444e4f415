"""One thread for every library, and one place for what many tests need."""

import os
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import pytest
from hypothesis import settings

settings.register_profile("quiet", deadline=None)  # a busy machine is no defect
settings.load_profile("quiet")


@pytest.fixture(scope="session")
def golden() -> Path:
    """What Kaldi 5.5 computed; see tests/golden/README.md."""
    return Path(__file__).parent / "golden"
