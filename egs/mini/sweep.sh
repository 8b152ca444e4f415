#!/usr/bin/env bash
# Repeats the mini recipe over seeds of the corpus and of training, two runs side by side with one thread each, and
# compares: the tables of egs/mini/RESULTS.md.
#
#   bash egs/mini/sweep.sh --systems "simclr dino" --data-seeds "1 2 3" --seeds "0 1 2"
#
# What is done is skipped, so it may be stopped and started at will. --set goes to every run.
# shellcheck source=../../utils/recipe.sh disable=SC2034
. "$(dirname "${BASH_SOURCE[0]}")/../../utils/recipe.sh"

# options
stage=1                 # first stage of each run
stop_stage=8            # last stage of each run
systems="simclr dino"   # which egs/mini/conf/<system>.yaml
data_seeds="1 2 3"      # corpora
seeds="0 1 2"           # trainings on each
rounds=2                # rounds of retraining
reference=""            # the system whose runs also train the supervised reference; empty: the last one
jobs=2                  # runs at a time, each on one thread
out=""                  # where corpora and runs go; empty: egs/mini/exp/sweep
# end of options
parse_options "$@"

out=${out:-$here/exp/sweep}
reference=${reference:-${systems##* }}
mkdir -p "$out"
export OMP_NUM_THREADS=1 SPKSSL_PYTHON="$python"

run() { # system, data seed, seed
  local options=(--system "$1" --data "$out/data-$2" --data-seed "$2" --seed "$3" --exp "$out/$1-d$2-s$3" --nj 1)
  if [[ $1 != "$reference" ]]; then options+=(--no-reference); fi
  options+=(--stage "$stage" --stop-stage "$stop_stage" --rounds "$rounds")
  if [[ -n $every ]]; then mapfile -t -O "${#options[@]}" options <<<"$every"; fi
  log "begin $1, corpus $2, seed $3"
  bash "$here/run.sh" "${options[@]}" >"$out/$1-d$2-s$3.log" 2>&1 || die "failed: see $out/$1-d$2-s$3.log"
  log "end   $1, corpus $2, seed $3"
}
every=$(printf '%s\n' "${settings[@]}") # an array cannot be exported
export -f run log die
export here out recipe reference stage stop_stage rounds every

for data_seed in $data_seeds; do # corpora and features first: the runs share them
  first=${systems%% *}
  options=(--system "$first" --data "$out/data-$data_seed" --data-seed "$data_seed" --nj "$jobs" --stop-stage 2)
  bash "$here/run.sh" "${options[@]}" >"$out/data-$data_seed.log" 2>&1
done
for data_seed in $data_seeds; do
  for seed in $seeds; do
    for system in $systems; do printf '%s %s %s\n' "$system" "$data_seed" "$seed"; done
  done
done | xargs -P "$jobs" -L 1 bash -c 'set -euo pipefail; run "$@"' run

runs=()
for data_seed in $data_seeds; do
  for seed in $seeds; do
    for system in $systems; do runs+=(--compare "$out/$system-d$data_seed-s$seed"); done
  done
done
spkssl report "${runs[@]}" --out "$out/compare"
