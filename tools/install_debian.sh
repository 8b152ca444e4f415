#!/usr/bin/env bash
# Installs the optional programs from Debian's packages: ffmpeg (m4a, mp3 and other containers), shellcheck (tests).
set -euo pipefail
missing=()
for program in ffmpeg shellcheck; do
  command -v "$program" >/dev/null || missing+=("$program")
done
((${#missing[@]})) || exit 0
command -v apt-get >/dev/null || {
  echo "install_debian: no apt-get here; install ${missing[*]} by other means" >&2
  exit 2
}
[[ $(id -u) == 0 ]] || { echo "install_debian: run as root: apt-get install ${missing[*]}" >&2; exit 2; }
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
