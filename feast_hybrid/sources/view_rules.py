"""What feature views ask for that would not be answered as it is meant: refused when applied, and when read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_NAME
from feast.feature_view_utils import get_transformation_function
from feast.labeling.conflict_policy import ConflictPolicy
from feast.labeling.label_view import LabelView

from feast_hybrid.arrow.names import positions_of
from feast_hybrid.errors import NotSupportedError, SchemaError
from feast_hybrid.sources.declared import (
    BATCH_ROWS_TAG,
    LiveObjects,
    is_written_elsewhere,
    transforms,
    transforms_stream,
)
from feast_hybrid.sources.feast_types import arrow_type_of_feast

if TYPE_CHECKING:
    from feast.batch_feature_view import BatchFeatureView
    from feast.feature_view import FeatureView
    from feast.stream_feature_view import StreamFeatureView

    # What Feast hands around as feature views.
    View = FeatureView | LabelView

    from feast_hybrid.sources.spec import SourceSpec

logger = logging.getLogger(__name__)

#: Pairs of views whose keys' types were said to differ.
_noted: set[tuple[str, str, str]] = set()


def require_supported(view: View) -> None:
    """Refuse what a view asks for by itself, whatever its source holds.

    Raises:
        NotSupportedError: a ttl below zero, a label view's policy, or a transformation that cannot be run; it names
            the view and what to change.
    """
    if view.ttl is not None and view.ttl < timedelta(0):
        raise NotSupportedError(
            f"view {view.name!r}: its ttl is {view.ttl.total_seconds():g} seconds; give one above zero, or zero for "
            "features of any age."
        )
    if isinstance(view, LabelView) and (reason := _policy_without_meaning(view)):
        raise NotSupportedError(reason)
    if transforms_stream(view):
        _require_known_tag(view)
    if transforms(view):
        _require_runnable(view)


def require_history(view: View) -> None:
    """As :func:`require_supported`, and that it is known which rows a stream feature view's batch source holds.

    Raises:
        NotSupportedError: it is not: with a function, they may be those that it gets or those that it makes.
    """
    require_supported(view)
    if not transforms_stream(view):
        return
    if not view.tags.get(BATCH_ROWS_TAG):
        raise NotSupportedError(_rows_not_known(view))
    if transforms(view) and view.aggregations:
        raise NotSupportedError(_aggregates_too(view))


def require_pull(views: Sequence[View]) -> None:
    """Refuse to hand Feast's engines rows on which they would run a stream feature view's function once more.

    Args:
        views: of the source that is pulled.

    Raises:
        NotSupportedError: the function made these rows, or it is not known whether it did.
    """
    if not views or not all(transforms_stream(view) for view in views):
        return
    for view in views:
        require_supported(view)
        if not view.tags.get(BATCH_ROWS_TAG):
            raise NotSupportedError(_rows_not_known(view))
        if not transforms(view):
            raise NotSupportedError(
                f"view {view.name!r} has a function, which Feast's engines would run on its batch source's rows; "
                f"its tag {BATCH_ROWS_TAG} says that it made them. Materialise a feature view without the function "
                "on the same batch source, or push these rows."
            )


def check_columns(views: Sequence[View], source: SourceSpec, columns: Sequence[str], live: LiveObjects) -> None:
    """Check that a source has its views' join keys; and say where other views declare them otherwise.

    Args:
        views: of the source.
        source: what it means.
        columns: that it has.
        live: Feast's objects in this process.

    Raises:
        SchemaError: an entity's join key is no column of the source.
    """
    if not views:
        return
    for view in views:
        _require_join_keys(view, source, columns, live)
        _warn_of_other_key_types(view, live)
    # Feast asks nothing of these views' sources when they are applied.
    for label_view in live.label_views:
        _warn_once(label_view, _policy_without_meaning(label_view))
    for other in live.views:
        if transforms_stream(other) and not other.tags.get(BATCH_ROWS_TAG):
            _warn_once(other, _rows_not_known(other))


def _policy_without_meaning(view: LabelView) -> str | None:
    if view.conflict_policy is ConflictPolicy.LAST_WRITE_WINS:
        return None
    return (
        f"view {view.name!r}: its conflict_policy is {view.conflict_policy.value!r}, which has no meaning as of a "
        "time here. History gives the latest label, which is 'last_write_wins': set that, or keep labels on which "
        "people agreed in a source of their own."
    )


def _rows_not_known(view: View) -> str:
    return (
        f"view {view.name!r} has a function, and which rows its batch source holds is not known: set its tag "
        f"{BATCH_ROWS_TAG!r} to 'raw' where they are as the stream brings them, and history has what the function "
        "makes of them, as materialisation does; or to 'transformed' where the function made them, and history has "
        "them as they are."
    )


def _aggregates_too(view: BatchFeatureView | StreamFeatureView) -> str:
    return (
        f"view {view.name!r} has a transformation and aggregations, which Feast's engines make of what it gives when "
        "they materialise, and not as of a time. Aggregate in the transformation, or keep the aggregated rows in a "
        "source of their own, and make a feature view of it."
    )


def _require_known_tag(view: StreamFeatureView) -> None:
    tag = view.tags.get(BATCH_ROWS_TAG)
    if tag not in (None, "raw", "transformed"):
        raise NotSupportedError(
            f"view {view.name!r}: its tag {BATCH_ROWS_TAG} is {tag!r}; it takes 'raw' or 'transformed'."
        )


def _warn_once(view: View, reason: str | None) -> None:
    if reason is not None and (view.name, reason, "") not in _noted:
        _noted.add((view.name, reason, ""))
        logger.warning("%s", reason)


def _require_runnable(view: BatchFeatureView | StreamFeatureView) -> None:
    """Refuse a transformation that neither Feast's Spark store nor its engines could run.

    Raises:
        NotSupportedError: it names the view, and the mode.
    """
    what = f"view {view.name!r}"
    is_stream = transforms_stream(view)
    if view.aggregations and not is_stream:
        raise NotSupportedError(
            f"{_aggregates_too(view)} Feast's registry does not keep a batch feature view's aggregations."
        )
    if view.offline and not view.source_views and not is_written_elsewhere(view.batch_source):
        raise NotSupportedError(
            f"{what} has a transformation and offline=True, with a source that is no view: Feast's engines would add "
            "the transformed rows to that source, and transform them again. Leave offline out, or make it of a view, "
            "with a sink_source."
        )
    if len(view.source_views or ()) > 1 and not view.offline:
        raise NotSupportedError(
            f"{what} is made of several views, whose histories have no common rows. Set offline=True and a "
            "sink_source with a path, and materialise it: history then reads the sink."
        )
    transformation = view.feature_transformation
    mode = getattr(transformation, "mode", None) or view.mode
    mode = getattr(mode, "value", mode)
    known = "Write it for 'python' or 'pandas', whose functions take the engine's frame and give one"
    if is_stream and mode in ("spark_sql", "flink"):
        raise NotSupportedError(
            f"{what}: Feast's engines give a transformation with mode={mode!r} a frame, which it does not take. "
            f"{known}."
        )
    if not is_stream and transformation is not None and not hasattr(type(transformation), "from_proto"):
        raise NotSupportedError(
            f"{what}: Feast cannot read a transformation with mode={mode!r} back from its registry. {known}."
        )
    if mode == "substrait" or get_transformation_function(view) is None:
        raise NotSupportedError(
            f"{what}: a transformation with mode={mode!r} is run by none of Feast's engines here. {known}."
        )


def _require_join_keys(view: View, source: SourceSpec, columns: Sequence[str], live: LiveObjects) -> None:
    for name in view.entities:
        if name == DUMMY_ENTITY_NAME:
            continue
        # Feast keeps an entity's name in the view, and its join key elsewhere.
        keys = live.join_keys(name)
        if keys and not any(positions_of(source.column_of(key), columns) for key in keys):
            refuse_missing_key(view, name, " or ".join(map(repr, sorted(keys))), source, columns)
    for key in (field.name for field in view.entity_columns if field.name != DUMMY_ENTITY_ID):
        if not positions_of(source.column_of(key), columns):
            refuse_missing_key(view, ", ".join(view.entities), repr(key), source, columns)


def refuse_missing_key(
    view: View, entity: str, key: str, source: SourceSpec, columns: Sequence[str], asked: Sequence[str] = ()
) -> None:
    """Say that a view's join key is no column of its source.

    Args:
        view: the view.
        entity: the entity's name.
        key: its join key, in quotes.
        source: the view's source.
        columns: of the source.
        asked: the columns of the entity rows, where there are any.

    Raises:
        SchemaError: always.
    """
    entity_rows = f"; entity_df has {', '.join(asked)}" if asked else ""
    raise SchemaError(
        f"view {view.name!r}: entity {entity!r} has the join key {key}, which source {source.name!r} "
        f"({source.describe()}) lacks; it has {', '.join(columns)}{entity_rows}. Give the entity the source's column "
        "(join_keys=[...]), or the source a field_mapping."
    )


def _warn_of_other_key_types(view: View, live: LiveObjects) -> None:
    """Say where another view declares a join key of one name in a type that compares otherwise."""
    keys = {field.name: field.dtype for field in view.entity_columns}
    for other in live.views:
        if other.name == view.name or not set(other.entities) & set(view.entities):
            continue
        for field in other.entity_columns:
            if field.name not in keys or _family(field.dtype, field.name) == _family(keys[field.name], field.name):
                continue
            first, second = sorted((view.name, other.name))
            if (first, second, field.name) not in _noted:
                _noted.add((first, second, field.name))
                logger.warning(
                    "join key %r is declared %s in view %r and %s in view %r: their rows and online keys do not "
                    "match each other. Declare one type.",
                    field.name,
                    keys[field.name],
                    view.name,
                    field.dtype,
                    other.name,
                )


def _family(data_type: Any, column: str) -> str:
    """Whole numbers are equal by value whatever their width."""
    try:
        name = str(arrow_type_of_feast(data_type, column))
    except SchemaError:
        return str(data_type)
    return "a whole number" if name in ("int32", "int64") else name
