"""The command line's root. Each command imports what is heavy when it runs, so that help is instant."""

from __future__ import annotations

from typing import Any

import click

from feast_hybrid.cli.check import check
from feast_hybrid.cli.demo import demo
from feast_hybrid.cli.doctor import doctor
from feast_hybrid.cli.explain import explain
from feast_hybrid.cli.migrate import migrate
from feast_hybrid.cli.optimize import optimize
from feast_hybrid.errors import HybridError


class _Commands(click.Group):
    """Commands whose known errors are one line, and not a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn a :class:`HybridError` into a message and exit code 1."""
        try:
            return super().invoke(ctx)
        except HybridError as error:
            if ctx.params.get("debug"):
                raise
            raise click.ClickException(f"{error}  (feast-hybrid --debug … shows where)") from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="feast-hybrid", prog_name="feast-hybrid")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:  # read from the context where an error is shown
    """Features from HDFS and from Azure Data Lake Gen2, joined as of a time by Feast on Spark."""


main.add_command(check)
main.add_command(demo)
main.add_command(doctor)
main.add_command(explain)
main.add_command(migrate)
main.add_command(optimize)
