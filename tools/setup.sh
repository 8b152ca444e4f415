#!/usr/bin/env bash
# Makes .venv with the pinned packages and this package, once; later calls find it done and end at once.
#   bash tools/setup.sh [--test]          --test: also what the tests need
# SPKSSL_PYTHON=/path/to/python: use that interpreter as it is, install nothing.
set -euo pipefail
export LC_ALL=C
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

die() { printf 'setup: %s\n' "$*" >&2; exit 2; }

supported() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

find_python() {
  local name
  for name in python3 python3.13 python3.12 python3.11 python3.10; do
    if command -v "$name" >/dev/null && supported "$name"; then command -v "$name"; return; fi
  done
  die "needs Python 3.10 to 3.13, found $(python3 --version 2>/dev/null || echo none); install one, then run again"
}

extras="" kind=base
case "${1:-}" in
  "") ;;
  --test) extras="[test]" kind=test ;;
  *) die "unknown option $1 (known: --test)" ;;
esac

if [[ -n "${SPKSSL_PYTHON:-}" ]]; then
  command -v "$SPKSSL_PYTHON" >/dev/null || die "SPKSSL_PYTHON=$SPKSSL_PYTHON is no program; name a python executable"
  exec env PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" "$SPKSSL_PYTHON" -m spkssl doctor --quiet --quick
fi

stamp=.venv/.spkssl-stamp
wanted=$(cat setup.cfg tools/constraints.txt | cksum)
have=$(cat "$stamp" 2>/dev/null || true)
if [[ "$have" == "$wanted test" || "$have" == "$wanted $kind" ]]; then exit 0; fi

python=$(find_python)
if [[ ! -x .venv/bin/pip ]]; then
  free_kb=$(df -Pk . | awk 'NR == 2 {print $4}')
  ((free_kb > 8000000)) || die "needs 8 GB of free disk here, found $((free_kb / 1000000)) GB; free some and run again"
  rm -rf .venv
  "$python" -m venv .venv >/dev/null 2>&1 ||
    die "$python cannot make environments; install it (Debian: apt install python3-venv) or set SPKSSL_PYTHON"
fi
supported .venv/bin/python || die ".venv holds $(.venv/bin/python --version 2>&1); remove .venv and run again"

printf 'setup: installing pinned packages into .venv (about 5 GB, some minutes)\n'
log=.venv/setup.log
if ! .venv/bin/pip install --constraint tools/constraints.txt --editable ".$extras" >"$log" 2>&1; then
  if grep -qiE 'connection|resolve|network|timed out|no matching distribution' "$log"; then
    die "cannot fetch packages: check the network or pip's index settings, then run again (see $log)"
  fi
  die "pip failed: $(grep -i '^ *error' "$log" | tail -n 1) (see $log)"
fi
.venv/bin/python -m spkssl doctor --quiet
printf '%s %s\n' "$wanted" "$kind" >"$stamp"
