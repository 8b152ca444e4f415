"""`python -m spkssl` is the `spkssl` command."""

from spkssl.cli import main

main()
