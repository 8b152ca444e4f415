#!/usr/bin/env bash
# Runs the tests from a bare checkout: makes the environment first where there is none.
#   bash tests/run.sh [pytest options]      e.g. bash tests/run.sh -m slow
set -euo pipefail
export LC_ALL=C OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
bash tools/setup.sh --test
python=${SPKSSL_PYTHON:-$root/.venv/bin/python}
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m pytest "$@"
