"""`python -m windvane` is the `windvane` command."""

from windvane.cli import main

main()
