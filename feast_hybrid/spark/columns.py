"""From the caller's column names to our own, and back.

Every frame is renamed by position to names of ours on entry, so that whatever a caller's columns are called
never reaches Spark's name resolution or SQL text: ``a.b``, ``a;b`` and ``val_.*`` are data.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from feast_hybrid.arrow.names import positions_of
from feast_hybrid.errors import JoinError, SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyspark.sql import DataFrame, SparkSession


def quoted(name: str) -> str:
    """The name as Spark's resolution and SQL text take it literally."""
    return "`" + name.replace("`", "``") + "`"


def is_case_sensitive(spark: SparkSession) -> bool:
    """Whether the session tells a column ``a`` from ``A`` of a result, which Spark by default does not."""
    return spark.conf.get("spark.sql.caseSensitive", "false") == "true"


def position(name: str, columns: Sequence[str], *, owner: str, role: str) -> int:
    """Where the column called ``name`` stands: see :mod:`feast_hybrid.arrow.names`.

    Args:
        name: The column asked for.
        columns: The frame's columns.
        owner: The frame, for the error: ``view 'rides'``, ``the entity frame``.
        role: What the column is for, for the error.

    Raises:
        SchemaError: No column or more than one column of that name.
    """
    found = positions_of(name, columns)
    if len(found) == 1:
        return found[0]
    if found:
        which = ", ".join(repr(columns[i]) for i in found)
        raise SchemaError(f"{owner}: {role} {name!r} is ambiguous: the frame has {which}; rename all but one")
    near = difflib.get_close_matches(name, columns, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    has = ", ".join(map(repr, columns)) or "no columns"
    raise SchemaError(f"{owner}: {role} {name!r} is not a column; the frame has {has}{hint}")


def named(frame: DataFrame, names: Sequence[str | None]) -> DataFrame:
    """The frame with other names for its columns, by position; those of None are left out."""
    if list(names) == frame.columns:
        return frame
    own = [f"__fh_n{n}" for n in range(len(names))]
    kept = [(column, name) for column, name in zip(own, names, strict=True) if name is not None]
    return frame.toDF(*own).select(*(column for column, _ in kept)).toDF(*(name for _, name in kept))


def refuse_clashes(
    entity_columns: Sequence[str], features: Iterable[tuple[str, str]], *, case_sensitive: bool
) -> None:
    """Refuse feature columns that would take the name of another output column, for whoever uses the result.

    Args:
        entity_columns: The entity frame's columns. These may repeat each other: they are carried by position.
        features: Pairs of (view, output column).
        case_sensitive: Whether the session tells ``a`` from ``A``.

    Raises:
        JoinError: Two output columns have one name; it says which two.
    """

    def key(name: str) -> str:
        return name if case_sensitive else name.lower()

    owners = {key(column): f"entity column {column!r}" for column in entity_columns}
    for view, column in features:
        feature = f"feature column {column!r} of view {view!r}"
        owner = owners.setdefault(key(column), feature)
        if owner is not feature:
            raise JoinError(f"{feature} and {owner} would have one name in the result; rename one of them")
