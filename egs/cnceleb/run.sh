#!/usr/bin/env bash
# Speaker verification on CN-Celeb: without labels by any system of egs/cnceleb/conf, or with them, as a reference.
#
#   bash egs/cnceleb/run.sh --cnceleb1 CN-Celeb_flac --cnceleb2 CN-Celeb2_flac --musan musan --rirs RIRS_NOISES --ngpu 4
#   bash egs/cnceleb/run.sh --stage 5 --system lgl --rounds 5 --num-clusters 4000
#   bash egs/cnceleb/run.sh --stage 6 --rounds 0 --labels egs/cnceleb/data/train/ref/utt2spk --at supervised
#
# The last one is AAMSupCon as published: supervised, on the labels you name. Every result stands for two ways of
# enrolment, cnceleb_average and cnceleb_concatenated. Give the same options again: what is done is skipped.
# More: egs/cnceleb/README.md. Results of others and ours: egs/cnceleb/RESULTS.md
# shellcheck source=../../utils/recipe.sh disable=SC2034
. "$(dirname "${BASH_SOURCE[0]}")/../../utils/recipe.sh"

# options
stage=1                 # first stage to run
stop_stage=8            # last stage to run
cnceleb1=""             # the unpacked CN-Celeb_flac, with data, dev and eval
cnceleb2=""             # the unpacked CN-Celeb2_flac, with data and spk.lst
musan=""                # the unpacked musan
rirs=""                 # the unpacked RIRS_NOISES
join=0                  # seconds: shorter training utterances are joined (wespeaker: 5), by TRUE LABELS; 0: none are
expect=published        # what the corpora are counted against: published or none
quarantine=false        # flag: go on without training recordings that cannot be read
system=aamsupcon        # which egs/cnceleb/conf/<system>.yaml
data=""                 # data directories; empty: egs/cnceleb/data
exp=""                  # where results go; empty: egs/cnceleb/exp/<system>
nj=8                    # processes that compute features; jobs on a cluster
on=local                # where shards of features and embeddings are made: local or slurm
job_options=""          # what to tell srun, e.g. "--partition=gpu --gpus=1"
ngpu=1                  # GPUs to train on; 0: CPU
seed=0                  # seed of training
cluster=""              # clustering; empty: the system's own, but --stage 6 leaves the labels of stage 5 as they are
num_clusters=""         # number of clusters, or auto; empty: the system's own
rounds=""               # rounds of retraining on pseudo labels, at most; empty: the system's own
labels=""               # true labels, for one supervised run beside the rounds; empty: none
at=""                   # score these only, e.g. supervised; empty: all there are
backend=""              # back-ends, comma separated; empty: the system's own
input=""                # what training reads: feats or wave; empty: the system's own
dry_run=false           # flag: say what would be done, do nothing
# end of options
parse_options "$@"

data=${data:-$here/data}
exp=${exp:-$here/exp/$system}
how=()
if [[ $dry_run == true ]]; then how=(--dry-run); fi
common=(--config "$here/conf/$system.yaml" --seed "$seed" --exp "$exp" --data "$data" "${how[@]}" "${settings[@]}")
clustering=(${cluster:+--cluster "$cluster"} ${num_clusters:+--num-clusters "$num_clusters"})
training=(${input:+--input "$input"} --ngpu "$ngpu")
both=(--sets "train,test" --ngpu "$ngpu")
without=()
if [[ $quarantine == true ]]; then without=(--quarantine); fi
shards=$((ngpu > 1 ? ngpu : 1)) # of extraction: one for each GPU
if [[ $on != local ]]; then shards=$nj; fi
threads "$(nproc)"
check_settings
rounds=${rounds:-$(spkssl setting retrain.rounds --default 2 --config "$here/conf/$system.yaml" "${settings[@]}")}

if stage 1 prepare; then
  for name in cnceleb1 cnceleb2 musan rirs; do
    [[ -n ${!name} ]] || die "stage 1 needs --$name, the folder of the unpacked corpus (see --help)"
  done
  "$python" "$here/local/prepare.py" --cnceleb1 "$cnceleb1" --cnceleb2 "$cnceleb2" --musan "$musan" --rirs "$rirs" \
    --out "$data" --join "$join" --expect "$expect" --nj "$nj" "${how[@]}"
  if [[ $dry_run == false ]]; then
    spkssl validate --no-feats "$data/test" "$data/noise" "$data/rir"
    spkssl validate --no-feats --disjoint-from "$data/test" "$data/train"
  fi
fi

if stage 2 features; then
  reading=(--config "$here/conf/$system.yaml" "${how[@]}" "${settings[@]}")
  sharded "$nj" "$data/log/features.train" features "${reading[@]}" --data "$data/train" "${without[@]}"
  for set in test noise; do
    sharded "$nj" "$data/log/features.$set" features "${reading[@]}" --data "$data/$set"
  done
fi

if stage 3 pretrain; then
  train pretrain "${common[@]}" "${training[@]}"
fi

if stage 4 extract; then
  sharded "$shards" "$exp/log/extract.pretrain" extract "${common[@]}" --at pretrain "${both[@]}"
  spkssl extract "${common[@]}" --at untrained --sets test --ngpu "$ngpu"
  spkssl extract "${common[@]}" --at fbank_stats --sets test
fi

if stage 5 cluster; then
  spkssl cluster "${common[@]}" --at pretrain "${clustering[@]}"
fi

if stage 6 retrain; then
  if ((rounds)); then cluster_first; fi
  for ((round = 1; round <= rounds; round++)); do
    train retrain "${common[@]}" "${training[@]}" --round "$round"
    sharded "$shards" "$exp/log/extract.round$round" extract "${common[@]}" --at "round$round" "${both[@]}"
    spkssl cluster "${common[@]}" --at "round$round" "${clustering[@]}"
    decide_after "$round"
  done
  if [[ -n $labels ]]; then
    train retrain "${common[@]}" "${training[@]}" --at supervised --labels "$labels"
    sharded "$shards" "$exp/log/extract.supervised" extract "${common[@]}" --at supervised "${both[@]}"
  fi
fi

if stage 7 score; then
  rounds=$(rounds_made)
  spkssl score "${common[@]}" --rounds "$rounds" ${at:+--at "$at"} ${backend:+--backend "$backend"}
fi

if stage 8 report; then
  rounds=$(rounds_made)
  spkssl report "${common[@]}" --rounds "$rounds"
fi
