import subprocess
import sys

import numpy as np
import pytest

from spkssl.backend import load_backend, make_backend
from spkssl.errors import InputError


def test_unknown_backend_names_the_nearest():
    with pytest.raises(InputError, match="did you mean plda"):
        make_backend("pdla")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY"])
def test_damaged_model_is_an_error_that_names_the_file(tmp_path, content):
    (tmp_path / "m.npz").write_bytes(content)
    with pytest.raises(InputError, match="m.npz: is not a back-end"):
        load_backend(tmp_path / "m.npz")


def test_npz_of_something_else_is_an_error(tmp_path):
    np.savez(tmp_path / "m.npz", a=np.ones(3))
    with pytest.raises(InputError, match="is not a back-end"):
        load_backend(tmp_path / "m.npz")


def test_backends_are_imported_without_torch():
    code = "import sys; from spkssl.backend import configs; configs(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
