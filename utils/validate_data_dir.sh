#!/usr/bin/env bash
# Kaldi's validate_data_dir.sh: its options (--no-feats --no-text --no-wav --no-spk-sort), its verdict, status 2 for
# every defect. `spkssl validate` itself also checks that files exist and more.
exec spkssl validate --kaldi --text "$@"
