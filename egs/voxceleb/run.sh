#!/usr/bin/env bash
# Self-supervised speaker verification on VoxCeleb: trained on VoxCeleb2 without labels, tested on VoxCeleb1.
#
#   bash egs/voxceleb/run.sh --vox1 voxceleb1 --vox2 voxceleb2 --musan musan --rirs RIRS_NOISES --lists lists --ngpu 4
#   bash egs/voxceleb/run.sh --stage 3                       # pretraining, and all that follows
#   bash egs/voxceleb/run.sh --system lgl --rounds 5         # any egs/voxceleb/conf/<system>.yaml
#   bash egs/voxceleb/run.sh --stage 5 --stop-stage 5 --cluster hdbscan
#   bash egs/voxceleb/run.sh --system one_gpu/sdpn           # the published batch, made in parts that 24 GB hold
#   bash egs/voxceleb/run.sh --ngpu 4 --nodes 2 --node-rank 0 --master first:29500   # and with 1 on the second machine
#
# Several machines share this folder and --data and --exp; the first does what is not training, the others wait for it.
# The corpora are only read; decoded audio takes about 150 GB, features 330 GB (by --set features.compress=kaldi a
# quarter of it). Give the same options again: what is done is skipped. Results: egs/voxceleb/RESULTS.md
# shellcheck source=../../utils/recipe.sh disable=SC2034
. "$(dirname "${BASH_SOURCE[0]}")/../../utils/recipe.sh"

# options
stage=1                 # first stage to run
stop_stage=8            # last stage to run
vox1=""                 # voxceleb1 as unpacked, with dev/wav and test/wav
vox2=""                 # voxceleb2 as unpacked, with dev/aac and test/aac
musan=""                # musan as unpacked
rirs=""                 # RIRS_NOISES as unpacked
lists=""                # folder of the trial lists: veri_test.txt, veri_test2.txt, list_test_all.txt, ...
trials=""               # which lists, e.g. vox1-o,vox1-o-clean (then voxceleb1/dev is not needed); empty: all six
expect=published        # how much there must be: published, none, or a JSON file of counts
audio=""                # where decoded VoxCeleb2 goes; empty: <data>/audio
no_decode=false         # flag: read m4a directly, which saves that disk and costs time
quarantine=false        # flag: go on without training recordings that cannot be read
system=dino             # which egs/voxceleb/conf/<system>.yaml; one_gpu/<system>: see the top of that file
data=""                 # data directories; empty: egs/voxceleb/data
exp=""                  # where results go; empty: egs/voxceleb/exp/<system>
nj=16                   # processes that decode and compute features; jobs on a cluster
on=local                # where shards of features and embeddings are made: local or slurm
job_options=""          # what to tell srun, e.g. "--partition=gpu --gpus=1"
ngpu=1                  # GPUs to train on, of each machine; 0: CPU
nodes=1                 # machines to train on: the same command on each, but for --node-rank
node_rank=0             # which of them this is, from 0
master=""               # host:port of the first machine, where the port is free
seed=0                  # seed of training
cluster=""              # clustering; empty: the system's own, but --stage 6 leaves the labels of stage 5 as they are
num_clusters=""         # number of clusters, or auto; empty: the system's own
rounds=""               # rounds of retraining on pseudo labels, at most; empty: the system's own
backend=""              # back-ends, comma separated; empty: the system's own
input=""                # what training reads: feats or wave; empty: the system's own
reference=false         # flag: also train the supervised reference, which uses labels
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
without=()
if [[ $quarantine == true ]]; then without=(--quarantine); fi
shards=$((ngpu > 1 ? ngpu : 1)) # of extraction: one for each GPU
if [[ $on != local ]]; then shards=$nj; fi
threads "$(nproc)"
check_settings
rounds=${rounds:-$(spkssl setting retrain.rounds --default 2 --config "$here/conf/$system.yaml" "${settings[@]}")}

if stage 1 prepare; then
  for name in vox1 vox2 musan rirs lists; do
    [[ -n ${!name} ]] || die "stage 1 needs --$name, the folder of the unpacked corpus (see --help)"
  done
  options=(${trials:+--trials "$trials"} ${audio:+--audio "$audio"} "${without[@]}" "${how[@]}")
  if [[ $no_decode == true ]]; then options+=(--no-decode); fi
  "$python" "$here/local/prepare.py" --vox1 "$vox1" --vox2 "$vox2" --musan "$musan" --rirs "$rirs" --lists "$lists" \
    --out "$data" --expect "$expect" --nj "$nj" "${options[@]}"
fi

if stage 2 features; then
  reading=(--config "$here/conf/$system.yaml" "${how[@]}" "${settings[@]}")
  sharded "$nj" "$data/log/features.train" features "${reading[@]}" --data "$data/train" "${without[@]}"
  for set in dev test noise; do
    sharded "$nj" "$data/log/features.$set" features "${reading[@]}" --data "$data/$set"
  done
fi

if stage 3 pretrain; then
  train pretrain "${common[@]}" "${training[@]}"
fi

if stage 4 extract; then
  sharded "$shards" "$exp/log/extract.pretrain" extract "${common[@]}" --at pretrain --ngpu "$ngpu"
  spkssl extract "${common[@]}" --at untrained --sets dev,test --ngpu "$ngpu"
  spkssl extract "${common[@]}" --at fbank_stats --sets dev,test
fi

if stage 5 cluster; then
  spkssl cluster "${common[@]}" --at pretrain "${clustering[@]}"
fi

if stage 6 retrain; then
  if ((rounds)); then cluster_first; fi
  for ((round = 1; round <= rounds; round++)); do
    train retrain "${common[@]}" "${training[@]}" --round "$round"
    sharded "$shards" "$exp/log/extract.round$round" extract "${common[@]}" --at "round$round" --ngpu "$ngpu"
    spkssl cluster "${common[@]}" --at "round$round" "${clustering[@]}"
    decide_after "$round"
  done
  if [[ $reference == true ]]; then
    train retrain "${common[@]}" "${training[@]}" --at supervised --labels "$labels"
    sharded "$shards" "$exp/log/extract.supervised" extract "${common[@]}" --at supervised --ngpu "$ngpu"
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
