"""What is measured: the shapes of data, and who joins them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)
"""The time of the first row of every history."""

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

SPARK_PEERS = ("feast", "chain", "tempo")
EVERYBODY = ("ours", "local", *SPARK_PEERS, "duckdb")
ON_FORMS = ("ours", "ours-path", "chain", "tempo")
"""Over other forms than paths of Parquet files, ours takes part on those too."""
ON_LISTED_FORMS = ("ours", "ours-path", "local", "chain", "tempo")
"""Of those forms the local engine reads what needs no catalog of Spark's."""
LISTED_FORMS = ("orc", "delta", "iceberg")
FORMS = {
    "table": "Hive tables of Parquet",
    "orc": "paths of ORC files",
    "orc-table": "Hive tables of ORC",
    "delta": "Delta tables",
    "iceberg": "Iceberg tables",
}
STRATEGIES = ("ours-columnar", "ours-window")
"""What the planner chooses from: they take part where the choice is not plain from the size."""


@dataclass(frozen=True, kw_only=True)
class History:
    """The rows of one feature view: in each step, a row for each of some keys, at random times within the step.

    A key has at most one row in a step, so no two rows of a key have one time. The files are in the order of
    time, as a lake's are that is appended to.

    Attributes:
        name: of the view.
        key: the join key's column.
        keys: how many there are.
        steps: how often each of them has a row.
        step: how long a step is.
        share: which part of the keys has a row in a step.
        hot: rows of key 0 that come on top, evenly spread; key 0 then has no others.
        features: columns of random doubles.
        used_features: how many of them are asked for.
        ttl: of the view; None for none.
        partitioned: whether each day is a partition, ``day=2026-01-01``.
        file_steps: how many steps make a file; None for as many as make one of some 75 MB.
        form: how they lie in the lake, a name of :data:`benchmarks.forms.FORMS`.
    """

    name: str
    key: str = "k"
    keys: int
    steps: int
    step: timedelta = HOUR
    share: float = 1.0
    hot: int = 0
    features: int = 5
    used_features: int = 2
    ttl: timedelta | None = None
    partitioned: bool = False
    file_steps: int | None = field(default=None, repr=False)
    form: str = field(default="parquet", repr=False)

    @property
    def rows(self) -> int:
        return self.steps * int(self.keys * self.share) + self.hot

    @property
    def end(self) -> datetime:
        return START + self.steps * self.step


@dataclass(frozen=True, kw_only=True)
class Entities:
    """The entity rows: ``row`` numbers them, keys and times are random.

    Attributes:
        rows: how many.
        keys: for each key column, how many keys there are.
        every: only keys that this divides are asked for.
        hot: which part of the rows asks for key 0.
        since, until: between which times.
        pandas: whether they come as a pandas frame, and the answer goes to one.
    """

    rows: int
    keys: tuple[tuple[str, int], ...]
    every: int = 1
    hot: float = 0.0
    since: datetime = START
    until: datetime
    pandas: bool = False


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One shape of data.

    Attributes:
        name: what ``SHAPES`` calls it.
        what: in words.
        histories: the views.
        entities: the entity rows.
        contenders: who takes part.
        heap: of Spark's driver, which in local mode does all.
        give_up_factor: a peer that takes this many times as long as ours is not waited for.
        lakes: whether the first view lies on HDFS and the others on ADLS, on real servers.
    """

    name: str
    what: str
    histories: tuple[History, ...]
    entities: Entities
    contenders: tuple[str, ...] = EVERYBODY
    heap: str = "4g"
    give_up_factor: float = 5.0
    lakes: bool = False

    @property
    def history_rows(self) -> int:
        return sum(history.rows for history in self.histories)


def shapes(scale: float = 1.0) -> dict[str, Shape]:
    """All shapes, by name. ``scale`` makes fewer keys and entity rows, and leaves the rows of a key as they are."""

    def n(number: int) -> int:
        return max(int(number * scale), 1)

    keys = n(100_000)
    dense = Shape(
        name="dense",
        what=f"3 views × {keys * 100:,} rows ({keys:,} keys × 100), {n(500_000):,} entity rows",
        histories=tuple(History(name=f"v{i}", keys=keys, steps=100) for i in range(3)),
        entities=Entities(rows=n(500_000), keys=(("k", keys),), until=START + 100 * HOUR),
    )
    found = [dense]

    def add(name: str, what: str, base: Shape = dense, **changes: object) -> None:
        found.append(replace(base, name=name, what=what, **changes))  # type: ignore[arg-type]

    add("sparse", "the same, entity rows on 1 % of the keys", entities=replace(dense.entities, every=100))
    hot_keys = n(1_000)
    add(
        "hot",
        f"{n(500_000):,} entity rows on {hot_keys:,} keys with 1,000 rows each, 3 views",
        histories=tuple(History(name=f"v{i}", keys=hot_keys, steps=1_000) for i in range(3)),
        entities=Entities(rows=n(500_000), keys=(("k", hot_keys),), until=START + 1_000 * HOUR),
        give_up_factor=10.0,  # what is wanted is a tenth of the time of a peer
    )
    add(
        "skew",
        "dense, but one key has 10 % of all rows, on both sides",
        histories=tuple(History(name=f"v{i}", keys=n(90_000), steps=100, hot=n(1_000_000)) for i in range(3)),
        entities=replace(dense.entities, keys=(("k", n(90_000)),), hot=0.1),
    )
    recent = tuple(
        # Two steps a day, so that in two days a key has four chances of a row, and a few have none.
        History(name=f"v{i}", keys=keys, steps=120, step=12 * HOUR, share=5 / 6, ttl=2 * DAY, partitioned=True)
        for i in range(3)
    )
    add(
        "recent",
        f"3 views × {recent[0].rows:,} rows in 60 daily partitions, ttl of 2 days, entity rows of the last week",
        histories=recent,
        entities=replace(dense.entities, since=START + 53 * DAY, until=START + 60 * DAY),
    )
    wide_keys = n(10_000)
    add(
        "wide",
        f"200 features in 4 views × {wide_keys * 100:,} rows, {n(100_000):,} entity rows",
        histories=tuple(
            History(name=f"v{i}", keys=wide_keys, steps=100, features=50, used_features=50) for i in range(4)
        ),
        entities=replace(dense.entities, rows=n(100_000), keys=(("k", wide_keys),)),
    )
    many_keys = n(20_000)
    add(
        "many",
        f"12 views × {many_keys * 50:,} rows with 4 different join keys, {n(200_000):,} entity rows",
        histories=tuple(History(name=f"v{i}", key=f"k{i % 4}", keys=many_keys, steps=50) for i in range(12)),
        entities=Entities(
            rows=n(200_000), keys=tuple((f"k{i}", many_keys) for i in range(4)), until=START + 50 * HOUR
        ),
    )
    add(
        "small",
        "1,000 entity rows in a pandas frame, 3 views × 100,000 rows",
        histories=tuple(History(name=f"v{i}", keys=1_000, steps=100) for i in range(3)),
        entities=Entities(rows=1_000, keys=(("k", 1_000),), until=START + 100 * HOUR, pandas=True),
        contenders=("ours", "local", *STRATEGIES, *SPARK_PEERS, "duckdb"),
    )
    for pandas, name in ((False, "views"), (True, "views-pandas")):
        add(
            name,
            f"40 views × 10,000 rows with 8 features, 1,000 entity rows in a {'pandas' if pandas else 'Spark'} frame",
            histories=tuple(
                History(name=f"v{i}", keys=1_000, steps=10, features=8, used_features=8) for i in range(40)
            ),
            entities=Entities(rows=1_000, keys=(("k", 1_000),), until=START + 10 * HOUR, pandas=pandas),
            contenders=("ours", "local", *STRATEGIES, "feast", "chain", "duckdb"),
        )
    add(
        "files",
        f"3 views of 1,000 files with 1,000 rows each, {n(100_000):,} entity rows",
        histories=tuple(History(name=f"v{i}", keys=1_000, steps=1_000, file_steps=1) for i in range(3)),
        entities=Entities(rows=n(100_000), keys=(("k", 1_000),), until=START + 1_000 * HOUR),
        contenders=("ours", "local", *STRATEGIES, *SPARK_PEERS, "duckdb"),
    )
    fewer = replace(dense.entities, rows=n(200_000), keys=(("k", n(40_000)),))

    def people_have(form: str) -> tuple[History, ...]:
        return tuple(History(name=f"v{i}", keys=n(40_000), steps=100, form=form) for i in range(3))

    add(
        "query",
        f"3 views × {n(4_000_000):,} rows behind a query with a filter, {n(200_000):,} entity rows",
        histories=people_have("query"),
        entities=fewer,
        contenders=("ours", *STRATEGIES, "chain", "tempo", "duckdb"),
    )
    for form, what in FORMS.items():
        add(
            form,
            f"3 views × {n(4_000_000):,} rows as {what}, {n(200_000):,} entity rows",
            histories=people_have(form),
            entities=fewer,
            contenders=ON_LISTED_FORMS if form in LISTED_FORMS else ON_FORMS,
        )
    add(
        "hive",
        f"3 views × {recent[0].rows:,} rows as Hive tables in 60 daily partitions, entity rows of the last week",
        histories=tuple(replace(history, form="table") for history in recent),
        entities=replace(dense.entities, since=START + 53 * DAY, until=START + 60 * DAY),
        contenders=ON_FORMS,
    )
    add(
        "far",
        "dense, one view on HDFS and two on ADLS, over the real servers",
        contenders=("ours", "local", *SPARK_PEERS),
        lakes=True,
    )
    for times, name in ((2, "twice"), (4, "four"), (5, "large")):
        rows = keys * 100 * times
        add(
            name,
            f"3 views × {rows:,} rows ({keys:,} keys × {100 * times})" + (", 3 GiB of heap" if times == 5 else ""),
            histories=tuple(History(name=f"v{i}", keys=keys, steps=100 * times) for i in range(3)),
            entities=replace(dense.entities, until=START + 100 * times * HOUR),
            contenders=("ours", "local", "chain"),
            heap="3g" if times == 5 else "4g",
        )
    return {shape.name: shape for shape in found}
