#!/usr/bin/env bash
# Runs a command once for each of N jobs, here or on a Slurm cluster: `--job I/N` is put behind the command.
#
#   utils/run_jobs.sh --nj 8 --log exp/dino/log/features -- spkssl features --data data/train
#   utils/run_jobs.sh --nj 8 --on slurm --options "--gpus=1 --mem=8G" --log log/extract -- spkssl extract ...
#
# Each job has a log of its own, LOG.I.log, which opens with the command and closes with its status and seconds. Jobs
# that fail are named, with their logs, and run again as often as --tries allows; jobs that ended well never are. Given
# again after a failure the same command starts all jobs, and those whose shard is finished end at once.
set -euo pipefail
export LC_ALL=C

nj=1       # how many jobs
on=local   # where: local or slurm
log=""     # beginning of the logs' names
at_once="" # jobs at a time; empty: all of them
tries=1    # how often a job may run
options="" # what to tell srun, e.g. "--partition=gpu --gpus=1"

die() { printf 'run_jobs.sh: %s\n' "$*" >&2; exit 2; }
usage() {
  sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
  sed -n -E 's/^(nj|on|log|at_once|tries|options)=([^ ]*) +# (.*)$/  --\1 (\2): \3/p' "${BASH_SOURCE[0]}" | tr _ -
}

while (($#)); do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --) shift; break ;;
    --nj | --on | --log | --at-once | --tries | --options)
      (($# > 1)) || die "$1 needs a value"
      name=${1#--}
      printf -v "${name//-/_}" '%s' "$2"; shift 2 ;;
    *) die "unknown option $1 (see --help; the command comes behind --)" ;;
  esac
done
at_once=${at_once:-$nj}
for number in "$nj" "$at_once" "$tries"; do
  [[ $number =~ ^[1-9][0-9]*$ ]] || die "--nj, --at-once and --tries take numbers from 1 on (got $number)"
done
[[ -n $log ]] || die "--log is missing"
(($#)) || die "no command (it comes behind --)"
case $on in
  local) launcher=() ;;
  slurm)
    command -v srun >/dev/null || die "there is no srun here; use --on local"
    read -r -a words <<<"$options"
    launcher=(srun --ntasks=1 --job-name="${log##*/}" "${words[@]}") ;;
  *) die "--on takes local or slurm (got $on)" ;;
esac
mkdir -p "$(dirname "$log")"

job() { # number; its output goes to its log, its status is returned
  local number=$1 status=0 start=$SECONDS file=$log.$1.log
  shift
  printf '#' >"$file"
  printf ' %q' "$@" --job "$number/$nj" >>"$file"
  printf '\n# started %(%Y-%m-%dT%H:%M:%S%z)T\n' -1 >>"$file"
  "${launcher[@]}" "$@" --job "$number/$nj" >>"$file" 2>&1 </dev/null || status=$?
  printf '# ended with status %s after %s s\n' "$status" "$((SECONDS - start))" >>"$file"
  return "$status"
}

declare -A running=() # process id -> job
failed=()
reap() { # wait for one job
  local pid status=0
  wait -n -p pid "${!running[@]}" || status=$?
  ((status == 0)) || failed+=("${running[$pid]}")
  unset "running[$pid]"
}

left=()
for ((number = 1; number <= nj; number++)); do left+=("$number"); done
for ((try = 1; try <= tries; try++)); do
  failed=()
  for number in "${left[@]}"; do
    if ((${#running[@]} >= at_once)); then reap; fi
    job "$number" "$@" &
    running[$!]=$number
  done
  while ((${#running[@]})); do reap; done
  ((${#failed[@]})) || exit 0
  mapfile -t left < <(printf '%s\n' "${failed[@]}" | sort -n)
  for number in "${left[@]}"; do
    printf 'run_jobs.sh: job %s of %s failed: %s\n' "$number" "$nj" "$log.$number.log" >&2
    grep -v '^#' "$log.$number.log" | tail -n 3 >&2 || true
  done
done
printf 'run_jobs.sh: %s of %s jobs failed (%s); mend the cause, the same command runs only these again\n' \
  "${#left[@]}" "$nj" "${left[*]}" >&2
exit 1
