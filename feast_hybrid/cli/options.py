"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path

import click

#: ``-c REPO``: the Feast repo, which is there; ``repo`` of the command.
repo_option = click.option(
    "-c",
    "--chdir",
    "repo",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="The Feast repo, the folder of feature_store.yaml; by default this one.",
)
