import pandas as pd

hours = pd.date_range("2026-01-01", periods=48, freq="h", tz="UTC")
stats = pd.DataFrame({"driver": [n % 4 for n in range(48)], "event_timestamp": hours, "trips": range(48)})
weather = pd.DataFrame({"city": ["Oslo", "Rome"] * 24, "event_timestamp": hours, "rain": [n / 2 for n in range(48)]})

if __name__ == "__main__":  # `feast apply` imports each file of a repository
    stats.to_parquet("stats.parquet")
    weather.to_parquet("weather.parquet")
