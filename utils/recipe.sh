# shellcheck shell=bash disable=SC2034,SC2154
# Sourced by every egs/<corpus>/run.sh: options, stages, and where things are. Safe bash, no eval.
#
# A recipe declares its options as plain variables between the lines `# options` and `# end of options`; the comment
# behind each is its help. `parse_options "$@"` reads the command line, `if stage 3 pretrain; then ... fi` runs a stage.
set -eEuo pipefail
shopt -s inherit_errexit
export LC_ALL=C PYTHONUNBUFFERED=1
# glibc: keep freed memory instead of handing it back and faulting it in again at every step; training on the CPU
# runs half as fast again. The two belong together.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184

recipe=${BASH_SOURCE[1]}
here=$(cd "$(dirname "$recipe")" && pwd)
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
settings=()         # what --set collects, handed to every stage
current="set-up"    # named when something fails

log() { printf '%(%H:%M:%S)T %s\n' -1 "$*"; }
die() { printf '%s: %s\n' "${recipe##*/}" "$*" >&2; exit 2; }
# What failed; once, not also by the subshell it failed in. After status 2, the user's error, the same command would
# fail again.
trap 'status=$?; if ((BASH_SUBSHELL == 0)); then
  more="; the same command goes on from there"; if ((status == 2)); then more=""; fi
  printf "%s: failed in %s (exit status %s)%s\n" "${recipe##*/}" "$current" "$status" "$more" >&2
fi' ERR

option_lines() { sed -n '/^# options$/,/^# end of options$/p' "$recipe" | grep -E '^[a-z_][a-z_0-9]*='; }

usage() {
  sed -n '2,/^[^#]/{/^# shellcheck/d; /^#/s/^# \{0,1\}//p}' "$recipe"
  printf '\nOptions (a flag takes no value):\n'
  option_lines | sed -E 's/^([a-z_][a-z_0-9]*)=("[^"]*"|[^ ]*) *# *(.*)$/\1\t\2\t\3/' |
    while IFS=$'\t' read -r name default text; do
      printf '  --%-14s %s [%s]\n' "${name//_/-}" "$text" "${default//\"/}"
    done
  printf '  --%-14s %s\n' "set A.B=C" "override one setting of the YAML; may be repeated"
}

parse_options() {
  local name known
  known=" $(option_lines | cut -d= -f1 | tr '\n' ' ') "
  while (($#)); do
    case $1 in
      -h | --help) usage; exit 0 ;;
      --*=*) die "write ${1%%=*} ${1#*=} instead of $1" ;;
      --set)
        (($# > 1)) || die "--set needs a value such as pretrain.loop.epochs=5"
        settings+=(--set "$2"); shift 2 ;;
      --*)
        name=${1#--}; name=${name//-/_}
        [[ $known == *" $name "* ]] || die "unknown option $1 (see --help)"
        if [[ ${!name} == true || ${!name} == false ]]; then
          printf -v "$name" true; shift
        else
          (($# > 1)) || die "$1 needs a value"
          printf -v "$name" '%s' "$2"; shift 2
        fi ;;
      *) die "unexpected argument $1 (see --help)" ;;
    esac
  done
  [[ $stage =~ ^[1-8]$ && $stop_stage =~ ^[1-8]$ ]] ||
    die "--stage and --stop-stage take numbers from 1 to 8 (got '$stage' and '$stop_stage')"
  ((stage <= stop_stage)) || die "--stop-stage $stop_stage comes before --stage $stage"
  for name in nj ngpu jobs rounds seed data_seed; do
    if [[ $known == *" $name "* && -n ${!name} && ! ${!name} =~ ^[0-9]+$ ]]; then
      die "--${name//_/-} takes a number (got '${!name}')"
    fi
  done
  if [[ $known != *" nodes "* ]]; then nodes=1 node_rank=0 master=""; fi # a recipe for one machine
  check_machines
  if [[ $known == *" system "* ]]; then check_system; fi
  if [[ $known == *" dry_run "* && $dry_run == true && -z ${SPKSSL_PYTHON:-} && ! -e $root/.venv ]]; then
    echo "dry run: would first make .venv (tools/setup.sh)"
    exit 0
  fi
  bash "$root/tools/setup.sh"
  python=${SPKSSL_PYTHON:-$root/.venv/bin/python}
  if ((nodes > 1)); then check_rounds; fi
}

check_system() {
  local there
  if [[ -e $here/conf/$system.yaml ]]; then return; fi
  there=$(cd "$here/conf" && shopt -s nullglob && echo *.yaml one_gpu/*.yaml)
  die "--system $system: no such file in ${here#"$PWD/"}/conf (there are: ${there//.yaml/})"
}

# What is wrong with --nodes, --node-rank and --master would otherwise show on one machine, hours later.
check_machines() {
  [[ $nodes =~ ^[1-9][0-9]{0,4}$ ]] || die "--nodes takes how many machines there are, from 1 (got '$nodes')"
  [[ $node_rank =~ ^(0|[1-9][0-9]{0,4})$ ]] || die "--node-rank takes a number from 0 (got '$node_rank')"
  if ((nodes == 1)); then
    ((node_rank == 0)) || die "--node-rank $node_rank needs --nodes, how many machines there are"
    return
  fi
  [[ $master =~ ^[^:]+:[0-9]+$ ]] || die "--nodes $nodes needs --master host:port, a free port of the first one"
  ((node_rank < nodes)) || die "--node-rank goes from 0 to $((nodes - 1))"
}

# A rule that ends the rounds would leave the other machines waiting for one that does not come.
check_rounds() {
  local rule
  if ((stage > 6 || stop_stage < 6)) || [[ ${rounds:-} == 0 ]]; then return; fi
  rule=$("$python" -m spkssl setting retrain.stop.rule --default fixed --config "$here/conf/$system.yaml" \
    "${settings[@]}")
  [[ $rule == fixed ]] || die "on several machines rounds are fixed: use --set retrain.stop.rule=fixed and --rounds"
}

# Settings and choices of all stages, also the late ones, before one runs. Other machines leave that to the first.
check_settings() {
  current="the settings"
  spkssl check --config "$here/conf/$system.yaml" --seed "$seed" "${settings[@]}" "${clustering[@]}" \
    ${input:+--input "$input"} ${backend:+--backend "$backend"}
}

# True if this stage is among those asked for. Of several machines the first does all that is not training.
stage() {
  ((stage <= $1 && $1 <= stop_stage)) || return 1
  if elsewhere && [[ $2 != pretrain && $2 != retrain ]]; then return 1; fi
  current="stage $1 ($2)"
  log "stage $1: $2"
}

elsewhere() { ((node_rank > 0)); }

# One thread for each core to the one process that trains, extracts or clusters; the processes of --nj take one each.
threads() {
  export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$1}"
  export MKL_NUM_THREADS="$OMP_NUM_THREADS" OPENBLAS_NUM_THREADS="$OMP_NUM_THREADS"
  # Threads that wait by spinning keep their core from whoever has work: ten times slower as soon as another process
  # runs beside this one.
  export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"
}

spkssl() {
  if elsewhere && [[ $1 != setting && $1 != rounds ]]; then return 0; fi
  "$python" -m spkssl "$@"
}

# A stage that is made in shards: by so many processes here, or by as many jobs of a cluster where the recipe's option
# `on` says so. Arguments: how many, beginning of the logs' names, the command.
sharded() {
  local jobs=$1 log=$2
  shift 2
  if [[ ${on:-local} == local || $dry_run == true ]] || elsewhere; then
    spkssl "$@" --nj "$jobs"
  else
    bash "$root/utils/run_jobs.sh" --nj "$jobs" --on "$on" --options "${job_options:-}" --log "$log" \
      -- "$python" -m spkssl "$@"
  fi
}

# Before the rounds: is the rule that may end them one that can? Then, without stage 5, the labels that are not there
# yet, that are of other embeddings than there are now, or that --cluster, --num-clusters or --set cluster.* ask for.
cluster_first() {
  spkssl rounds "${common[@]}" --max "$rounds" --done 0 >/dev/null
  if ((stage > 5)); then spkssl cluster "${common[@]}" --at pretrain --keep "${clustering[@]}"; fi
}

# After the clustering of a round: decide by retrain.stop whether it is the last one. Argument: the round.
decide_after() {
  if elsewhere; then return; fi # the first machine's part
  spkssl stop "${common[@]}" --round "$1"
  rounds=$(spkssl rounds "${common[@]}" --max "$rounds" --done "$1")
}

# How many rounds there are: --rounds, or those up to the one that retrain.stop ended with.
rounds_made() { spkssl rounds "${common[@]}" --max "$rounds"; }

# A training stage: one process for each GPU of each machine through torchrun, if that is more than one. Where a recipe
# has `nodes`, `node_rank` and `master`, the same command on every machine makes one training of all.
train() {
  local count=$nodes own=$((ngpu > 1 ? ngpu : 1)) where=(--standalone)
  if [[ $dry_run == true ]] || ((count * own == 1)); then spkssl "$@"; return; fi
  if ((count > 1)); then
    where=(--nnodes "$count" --node-rank "$node_rank" --master-addr "${master%:*}" --master-port "${master##*:}"
      --rdzv-conf timeout=3600)
  fi
  if elsewhere; then
    log "$1: waiting for the first machine, $master"
    local since=$SECONDS next=60
    until reached; do
      sleep 1
      if ((SECONDS - since >= next)); then
        log "$1: still waiting for $master, for $(((SECONDS - since) / 60)) min; is the same command running there?"
        next=$((SECONDS - since + 60))
      fi
    done
  fi
  "$python" "$root/utils/launch.py" "${where[@]}" --nproc-per-node "$own" -m spkssl "$@"
  if elsewhere; then # what comes next has the same port
    while reached; do sleep 0.2; done
  fi
}

# Whether the first machine is in a training stage now.
reached() { (: <"/dev/tcp/${master%:*}/${master##*:}") 2>/dev/null; }
