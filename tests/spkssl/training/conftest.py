import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    """The toy world of the methods' tests."""
    if "toy" not in sys.modules:
        path = Path(__file__).parents[1] / "methods" / "toy.py"
        spec = importlib.util.spec_from_file_location("toy", path)
        sys.modules["toy"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["toy"])
    return sys.modules["toy"]
