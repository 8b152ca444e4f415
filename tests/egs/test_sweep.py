"""The sweep of the mini recipe: which runs it makes of a file of variants, by a recipe that only notes its options."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_remarks_and_blanks_in_a_file_of_variants_change_no_run(tmp_path):
    for name in ("egs/mini/sweep.sh", "utils/recipe.sh"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/setup.sh").touch()
    (tmp_path / "egs/mini/run.sh").write_text(f'echo "$*" >>{tmp_path}/calls\n')
    (tmp_path / "variants").write_text(
        "# name system after\none dino - --rounds 1   # with a remark\ntwo lgl -\t\n   \nthree lgl - --set 'a.b=c d'\n"
    )
    options = ["--variants", str(tmp_path / "variants"), "--pairs", "1:0", "--jobs", "1", "--out", str(tmp_path / "o")]
    done = subprocess.run(
        ["bash", str(tmp_path / "egs/mini/sweep.sh"), *options],
        env={**os.environ, "SPKSSL_PYTHON": "true"}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    features, *runs = (tmp_path / "calls").read_text().splitlines()
    ends = ["--rounds 2 --rounds 1", "--rounds 2", "--rounds 2 --set a.b=c d"]
    names = ["dino", "lgl", "lgl"]
    assert features.endswith("--stop-stage 2") and len(runs) == 3, runs
    for run, name, end in zip(runs, names, ends, strict=True):
        assert run.startswith(f"--system {name} ") and run.endswith(f"--stop-stage 8 {end}"), run
