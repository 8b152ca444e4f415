#!/usr/bin/env bash
# Repeats the mini recipe over systems, corpora and training seeds, some runs side by side with one thread each, and
# compares: the tables of egs/mini/RESULTS.md.
#
#   bash egs/mini/sweep.sh --systems "simclr dino" --data-seeds "1 2 3" --seeds "0 1 2"
#   bash egs/mini/sweep.sh --variants egs/mini/variants/sdpn --pairs "1:0 2:1 3:2"
#
# A file of variants has lines `name system after options...`, the options being run.sh's, quoted as in a shell:
#   no-koleo  sdpn  -     --rounds 0 --set pretrain.method.koleo=0
# `after` names an earlier line whose pretraining and clusters this one takes over, - for none.
# What is done is skipped, so it may be stopped and started at will. --set goes to every run.
# shellcheck source=../../utils/recipe.sh disable=SC2034
. "$(dirname "${BASH_SOURCE[0]}")/../../utils/recipe.sh"

# options
stage=1                 # first stage of each run
stop_stage=8            # last stage of each run
systems="simclr dino"   # which egs/mini/conf/<system>.yaml
variants=""             # file of variants, instead of --systems
data_seeds="1 2 3"      # corpora
seeds="0 1 2"           # trainings on each
pairs=""                # corpus:training, instead of all of the two above: "1:0 2:1 3:2"
sizes=""                # of the corpora, as in run.sh, e.g. "--train-speakers 8 --train-utts 8"
rounds=2                # rounds of retraining, where a variant does not say
reference=""            # of --systems, whose runs also train the supervised reference; empty: the last one
jobs=2                  # runs at a time, each on one thread
out=""                  # where corpora and runs go; empty: egs/mini/exp/sweep
compare=""              # name of the comparison below `out`; empty: that of the variants, or compare
# end of options
parse_options "$@"

out=${out:-$here/exp/sweep}
reference=${reference:-${systems##* }}
compare=${compare:-$(basename "${variants:-compare}")}
export OMP_NUM_THREADS=1 SPKSSL_PYTHON="$python"
mkdir -p "$out"

# Lines `name system after options`.
plan() {
  if [[ -n $variants ]]; then
    [[ -e $variants ]] || die "no such file: $variants"
    sed -E 's/[[:space:]]*(#.*)?$//; /^$/d' "$variants" # a blank at the end would join a line with the next
  else
    for system in $systems; do
      if [[ $system == "$reference" ]]; then echo "$system $system -"; else echo "$system $system - --no-reference"; fi
    done
  fi
}

run() { # corpus, seed, name, system, after, options
  local data_seed=$1 seed=$2 name=$3 system=$4 after=$5
  local exp="$out/$name-d$data_seed-s$seed" from="$out/$after-d$data_seed-s$seed"
  local options=(--system "$system" --data "$out/data-$data_seed" --data-seed "$data_seed" --seed "$seed" --exp "$exp")
  shift 5
  if [[ -n $sizes ]]; then options+=(--sizes "$sizes"); fi
  options+=(--nj 1 --stage "$stage" --stop-stage "$stop_stage" --rounds "$rounds" "$@")
  if [[ -n $every ]]; then mapfile -t -O "${#options[@]}" options <<<"$every"; fi
  if [[ $after != - && ! -e $exp ]]; then # what was done is marked, by paths from the run's folder
    mkdir -p "$exp.new/.done"
    cp -r "$from"/{fbank_stats,untrained,pretrain} "$exp.new"
    cp "$from"/.done/{pretrain,cluster.pretrain,extract.{fbank_stats,untrained,pretrain}.*}.json "$exp.new/.done"
    mv "$exp.new" "$exp"
  fi
  log "begin $name, corpus $data_seed, seed $seed"
  bash "$here/run.sh" "${options[@]}" >"$exp.log" 2>&1 || die "failed: see $exp.log"
  log "end   $name, corpus $data_seed, seed $seed"
}
every=$(printf '%s\n' "${settings[@]}") # an array cannot be exported
export -f run log die
export here out recipe stage stop_stage sizes rounds every

if [[ -z $pairs ]]; then
  for data_seed in $data_seeds; do for seed in $seeds; do pairs+=" $data_seed:$seed"; done; done
fi
plan | while read -r name system _; do # corpora and features first: the runs share them
  for pair in $pairs; do
    options=(--system "$system" --data "$out/data-${pair%:*}" --data-seed "${pair%:*}" --nj "$jobs" --stop-stage 2)
    if [[ -n $sizes ]]; then options+=(--sizes "$sizes"); fi
    bash "$here/run.sh" "${options[@]}" >"$out/data-${pair%:*}.log" 2>&1 </dev/null
  done
  break
done
for turn in '^[^ ]+ +[^ ]+ +- *' '^[^ ]+ +[^ ]+ +[^- ]'; do # first those that start from nothing
  for pair in $pairs; do
    { plan | grep -E "$turn" || true; } | sed "s/^/${pair%:*} ${pair#*:} /"
  done | xargs -r -P "$jobs" -L 1 bash -c 'set -euo pipefail; run "$@"' run
done

runs=()
while read -r name _; do
  for pair in $pairs; do runs+=(--compare "$name=$out/$name-d${pair%:*}-s${pair#*:}"); done
done < <(plan)
spkssl report "${runs[@]}" --out "$out/$compare"
