#!/usr/bin/env bash
# Kaldi's fix_data_dir.sh: sorts, drops duplicates, keeps what all files agree on, originals in .backup. Then says
# what is left to correct by hand.
exec spkssl validate --fix --kaldi --no-feats --no-text --no-wav "$@"
