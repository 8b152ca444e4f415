#!/usr/bin/env bash
# Runs the tests from a bare checkout: makes the environment first where there is none.
#   bash tests/run.sh [pytest options]      e.g. bash tests/run.sh -m slow, or -n 0 tests/spkssl/io
# Two files at a time, one thread each; in the order of their names, as whole recipes take long and come first.
set -euo pipefail
export LC_ALL=C OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
bash tools/setup.sh --test
python=${SPKSSL_PYTHON:-$root/.venv/bin/python}
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"
