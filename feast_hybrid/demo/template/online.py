"""What the online store knows about one flight, such as

    python online.py UA N14228 EWR IAH --bearing 230

Reads SQLite alone: no lake and no Spark need to run.
"""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("carrier")
@click.argument("tailnum")
@click.argument("origin")
@click.argument("dest")
@click.option("--bearing", type=float, default=270.0, show_default=True, help="Course at departure, degrees.")
def main(**flight: str | float) -> None:
    """What the online store knows about one flight."""
    from feast import FeatureStore

    store = FeatureStore(repo_path=str(Path(__file__).parent))
    features = store.get_online_features(
        features=store.get_feature_service("arrival_delay"), entity_rows=[flight], full_feature_names=True
    )
    for name, values in sorted(features.to_dict().items()):
        click.echo(f"{name:40} {values[0]}")


if __name__ == "__main__":
    main()
