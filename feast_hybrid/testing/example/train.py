import pandas as pd
from feast import FeatureStore

rides = pd.DataFrame(
    {
        "driver": [0, 1, 2],
        "city": ["Oslo", "Rome", "Oslo"],
        "event_timestamp": pd.to_datetime(["2026-01-01 10:30", "2026-01-02 12:00", "2026-01-09 08:15"], utc=True),
    }
)

if __name__ == "__main__":
    job = FeatureStore(".").get_historical_features(rides, ["stats:trips", "weather:rain"])
    print(job.to_df())
    print(job.explain())
