import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def load_toy() -> ModuleType:
    """toy.py of this folder, which is no package; the scripts of the ranks import it too."""
    if "toy" not in sys.modules:
        spec = importlib.util.spec_from_file_location("toy", Path(__file__).with_name("toy.py"))
        sys.modules["toy"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["toy"])
    return sys.modules["toy"]


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    return load_toy()


# Tests of dozens of steps: always for a method, with -m slow for its variants.
LONG = {"test_training_separates_speakers", "test_training_on_two_batches_lowers_the_loss"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        cases, long = load_toy().cases(), metafunc.function.__name__ in LONG
        marks = [[pytest.mark.slow] if long and " " in case else [] for case in cases]
        metafunc.parametrize("case", [pytest.param(c, marks=m) for c, m in zip(cases, marks, strict=True)])
