"""``python -m feast_hybrid``: the command line, where its script is not on the path."""

from feast_hybrid.cli.main import main

main(prog_name="feast-hybrid")
