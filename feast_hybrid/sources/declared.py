"""What feature views say of their sources' columns, and which views those are."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from feast.batch_feature_view import BatchFeatureView
from feast.entity import Entity
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.feature_view_utils import has_transformation
from feast.labeling.label_view import LabelView
from feast.stream_feature_view import StreamFeatureView

from feast_hybrid.errors import SchemaError
from feast_hybrid.sources.feast_types import arrow_type_of_feast

if TYPE_CHECKING:
    import pyarrow as pa
    from feast.data_source import DataSource

    from feast_hybrid.sources.spec import SourceSpec

#: A stream feature view's tag that says which rows its batch source holds: ``raw``, as the stream brings them, or
#: ``transformed``, as the view's function made them. Feast has no word for it, and its engines take them for raw.
BATCH_ROWS_TAG = "feast_hybrid.batch_rows"


def transforms(view: Any) -> TypeGuard[BatchFeatureView | StreamFeatureView]:
    """Whether its features are made of its batch source's rows by a transformation."""
    if isinstance(view, BatchFeatureView):
        return has_transformation(view)
    return transforms_stream(view) and view.tags.get(BATCH_ROWS_TAG) == "raw"


def transforms_stream(view: Any) -> TypeGuard[StreamFeatureView]:
    """Whether it is a stream feature view with a transformation."""
    return isinstance(view, StreamFeatureView) and has_transformation(view)


def is_written_elsewhere(source: DataSource | None) -> bool:
    """Whether a source's rows come from a query, and batches go to a path: Feast's ``SparkSource`` may have both."""
    return bool(getattr(source, "query", None) and getattr(source, "path", None))


def declared_types(view: FeatureView, source: SourceSpec) -> dict[str, pa.DataType]:
    """The types in Arrow that a view declares of its join keys and features, by the source's names.

    A type that Feast has no Arrow type for is left out: such a column is what the files say. So is all of a view
    whose source a transformation gets: it declares what that makes, as a sink has it.
    """
    if transforms(view) and not view.source_views:
        return {}
    return made_types(view, source)


def made_types(view: FeatureView, source: SourceSpec) -> dict[str, pa.DataType]:
    """As :func:`declared_types`, of the rows that the view has, whether a transformation made them or not."""
    declared: dict[str, pa.DataType] = {}
    for field in [*view.entity_columns, *view.features]:
        if field.name != DUMMY_ENTITY_ID:
            try:
                declared[source.column_of(field.name)] = arrow_type_of_feast(field.dtype, field.name)
            except SchemaError:
                continue
    return declared


def views_of(source: DataSource) -> list[FeatureView]:
    """The views of this process whose batch source is this very object; see :class:`LiveObjects`."""
    return LiveObjects.find().views_of(source)


def join_keys(views: Sequence[FeatureView], source: SourceSpec) -> list[str]:
    """The join keys of a source's views, by the source's names."""
    fields = [field for view in views for field in view.entity_columns if field.name != DUMMY_ENTITY_ID]
    return list(dict.fromkeys(source.column_of(field.name) for field in fields))


def agreed_types(views: Sequence[FeatureView], source: SourceSpec) -> dict[str, pa.DataType]:
    """What the views of a source declare of its columns; where they disagree, nothing of that column."""
    declared: dict[str, pa.DataType] = {}
    disputed: set[str] = set()
    for view in views:
        for name, data_type in declared_types(view, source).items():
            if declared.setdefault(name, data_type) != data_type:
                disputed.add(name)
    return {name: data_type for name, data_type in declared.items() if name not in disputed}


@dataclass(frozen=True)
class LiveObjects:
    """Feast's objects in this process, whoever made them: what a repository defines while it is applied.

    Feast hands ``feast apply`` and its engines the source of a view, and not the view: what it declares is found by
    asking the interpreter which views there are. docs/adr/0008 says why.

    Attributes:
        entities: by any names; several may have one.
        views: batch and stream feature views.
        label_views: label views.
    """

    entities: tuple[Entity, ...]
    views: tuple[FeatureView, ...]
    label_views: tuple[LabelView, ...]

    @classmethod
    def find(cls) -> LiveObjects:
        """Look at all objects, once."""
        entities, views, label_views = map(_with_subclasses, (Entity, FeatureView, LabelView))
        classes = entities | views | label_views
        # Not gc.get_objects(): while it holds a tuple that another thread is making, that thread fails.
        referring = [thing for thing in gc.get_referrers(*classes) if type(thing) in classes]
        # One whose making failed may live on in the error, without a name.
        found = [thing for thing in referring if hasattr(thing, "name")]
        return cls(
            entities=tuple(thing for thing in found if type(thing) in entities),
            views=tuple(thing for thing in found if type(thing) in views),
            label_views=tuple(thing for thing in found if type(thing) in label_views),
        )

    def views_of(self, source: DataSource) -> list[FeatureView]:
        """The views whose batch source is this very object, by themselves or by way of a push source."""

        def is_read_by(view: Any) -> bool:
            # A label view holds a push source; a stream feature view from the registry its batch source twice.
            held = [getattr(view, "batch_source", None), getattr(view, "source", None)]
            return any(of is source or getattr(of, "batch_source", None) is source for of in held)

        views: list[Any] = [*self.views, *self.label_views]
        return [view for view in views if is_read_by(view)]

    def views_made_of(self, source: DataSource) -> list[FeatureView]:
        """As :meth:`views_of`, and the views that are made of those, by these very objects."""
        made = self.views_of(source)
        for parent in made:  # which grows
            made += [
                view
                for view in self.views
                if any(of is parent for of in view.source_views or ()) and all(view is not other for other in made)
            ]
        return made

    def join_keys(self, entity: str) -> set[str]:
        """The join keys of the entities of that name; none where it is gone, several where it was defined again."""
        return {found.join_key for found in self.entities if found.name == entity}


def _with_subclasses(base: type) -> set[type]:
    return {base}.union(*map(_with_subclasses, base.__subclasses__()))
