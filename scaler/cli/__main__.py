"""`python -m scaler.cli`: the same as `lagcast`."""

from scaler.cli.main import main

main(prog_name="lagcast")
