#!/usr/bin/env bash
# Self-supervised speaker verification, whole, on a synthesised corpus: from nothing to an equal error rate.
#
#   bash egs/mini/run.sh                              # DINO, two rounds of pseudo labels, in minutes on two cores
#   bash egs/mini/run.sh --system simclr              # another system: any egs/mini/conf/<system>.yaml
#   bash egs/mini/run.sh --stage 5 --stop-stage 7 --cluster kmeans --num-clusters 150
#
# What is done already is skipped; what was killed goes on. Results: egs/mini/RESULTS.md
# shellcheck source=../../utils/recipe.sh disable=SC2034
. "$(dirname "${BASH_SOURCE[0]}")/../../utils/recipe.sh"

# options
stage=1                 # first stage to run
stop_stage=8            # last stage to run
system=dino             # which egs/mini/conf/<system>.yaml
data=""                 # data directories; empty: egs/mini/data
exp=""                  # where results go; empty: egs/mini/exp/<system>
nj=2                    # processes that synthesise and compute features
ngpu=0                  # GPUs to train on; 0: CPU
seed=0                  # seed of training
data_seed=0             # seed of the corpus
hard=false              # flag: the corpus with more variation within speakers
sizes=""                # sizes of the corpus, e.g. "--train-speakers 8 --train-utts 8"; see spkssl synth --help
cluster=""              # clustering; empty: the system's own, but --stage 6 leaves the labels of stage 5 as they are
num_clusters=""         # number of clusters, or auto; empty: the system's own
rounds=""               # rounds of retraining on pseudo labels, at most; empty: the system's own
backend=""              # back-ends, comma separated; empty: the system's own
input=""                # what training reads: feats or wave; empty: the system's own
no_reference=false      # flag: leave out the supervised reference, which uses labels
dry_run=false           # flag: say what would be done, do nothing
# end of options
parse_options "$@"

data=${data:-$here/data}
exp=${exp:-$here/exp/$system}
labels=$data/train/ref/utt2spk # true labels: for the supervised reference and the report alone
how=()
if [[ $dry_run == true ]]; then how=(--dry-run); fi
common=(--config "$here/conf/$system.yaml" --seed "$seed" --exp "$exp" --data "$data" "${how[@]}" "${settings[@]}")
clustering=(${cluster:+--cluster "$cluster"} ${num_clusters:+--num-clusters "$num_clusters"})
training=(${input:+--input "$input"} --ngpu "$ngpu")
threads "$(nproc)"
check_settings
rounds=${rounds:-$(spkssl setting retrain.rounds --default 2 --config "$here/conf/$system.yaml" "${settings[@]}")}

if stage 1 prepare; then
  read -r -a corpus <<<"$sizes"
  if [[ $hard == true ]]; then corpus+=(--hard); fi
  spkssl synth --out "$data" --seed "$data_seed" --nj "$nj" "${corpus[@]}" "${how[@]}"
fi

if stage 2 features; then
  for set in train dev test noise; do
    spkssl features --config "$here/conf/$system.yaml" --data "$data/$set" --nj "$nj" "${how[@]}" "${settings[@]}"
  done
fi

if stage 3 pretrain; then
  train pretrain "${common[@]}" "${training[@]}"
fi

if stage 4 extract; then
  spkssl extract "${common[@]}" --at pretrain --sets train,dev,test --ngpu "$ngpu"
  spkssl extract "${common[@]}" --at untrained --sets train,dev,test
  spkssl extract "${common[@]}" --at fbank_stats --sets train,dev,test
fi

if stage 5 cluster; then
  spkssl cluster "${common[@]}" --at pretrain "${clustering[@]}"
fi

if stage 6 retrain; then
  if ((rounds)); then cluster_first; fi
  for ((round = 1; round <= rounds; round++)); do
    train retrain "${common[@]}" "${training[@]}" --round "$round"
    spkssl extract "${common[@]}" --at "round$round" --sets train,dev,test --ngpu "$ngpu"
    spkssl cluster "${common[@]}" --at "round$round" "${clustering[@]}"
    decide_after "$round"
  done
  if [[ $no_reference == false && -e $labels ]]; then
    train retrain "${common[@]}" "${training[@]}" --at supervised --labels "$labels"
    spkssl extract "${common[@]}" --at supervised --sets train,dev,test --ngpu "$ngpu"
  fi
fi

if stage 7 score; then
  rounds=$(rounds_made)
  spkssl score "${common[@]}" --rounds "$rounds" ${backend:+--backend "$backend"}
fi

if stage 8 report; then
  rounds=$(rounds_made)
  spkssl report "${common[@]}" --rounds "$rounds"
fi
