"""What both lakes knew about one flight at an instant, such as

    python past.py UA N14228 EWR IAH 2013-07-04T15:00Z --bearing 230

Reads HDFS and ADLS, so the lakes must run.
"""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("carrier")
@click.argument("tailnum")
@click.argument("origin")
@click.argument("dest")
@click.argument("event_timestamp")
@click.option("--bearing", type=float, default=270.0, show_default=True, help="Course at departure, degrees.")
def main(**flight: str | float) -> None:
    """What both lakes knew about one flight at an instant."""
    import pandas as pd
    from feast import FeatureStore

    store = FeatureStore(repo_path=str(Path(__file__).parent))
    rows = pd.DataFrame([flight]).assign(event_timestamp=pd.to_datetime([str(flight["event_timestamp"])], utc=True))
    features = store.get_historical_features(
        rows, store.get_feature_service("arrival_delay"), full_feature_names=True, filter_by_created_timestamp=True
    )
    for name, value in sorted(features.to_df().iloc[0].items()):
        click.echo(f"{name:40} {value}")


if __name__ == "__main__":
    main()
