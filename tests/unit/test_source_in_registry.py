"""How a data source travels through Feast's registry."""

from __future__ import annotations

import json
from typing import Any

import pytest
from feast.data_source import DataSource
from feast.protos.feast.core.DataSource_pb2 import DataSource as DataSourceProto
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_hybrid import HybridSparkSource
from feast_hybrid.errors import SourceError
from tests.unit.definitions import DIFFERENCES, PATH, source

names = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
segments = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Z"), exclude_characters="/?"),
    min_size=1,
    max_size=9,
).filter(lambda segment: segment.strip() == segment and segment not in (".", ".."))
paths = st.tuples(
    st.sampled_from(["hdfs://lake", "abfss://raw@acct.dfs.core.windows.net", "file://"]),
    st.lists(segments, min_size=1, max_size=3),
).map(lambda parts: "/".join([parts[0], *parts[1]]))
option_names = names.filter(
    lambda name: (
        name.lower() not in ("path", "paths") and "." not in name  # settings of Hadoop have one
    )
)
places: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries(
        {"path": paths},
        optional={
            "file_format": st.sampled_from(["parquet", "CSV", "delta", "my.Format"]),
            "options": st.dictionaries(option_names, texts, max_size=3),
        },
    ),
    st.fixed_dictionaries({"table": names}, optional={"site": names}),
    st.fixed_dictionaries(
        {"query": names.map(lambda name: f"select 1 as `{name.replace('`', '``')}`")}, optional={"site": names}
    ),
)
definitions = st.tuples(
    places,
    st.fixed_dictionaries(
        {"name": names},
        optional={
            "timestamp_field": names.map(lambda name: "ts" + name),
            "created_timestamp_column": names.map(lambda name: "c" + name),
            "date_partition_column": names,
            "date_partition_column_format": st.sampled_from(["%Y-%m-%d", "%Y%m%d", "%F"]),
            "field_mapping": st.dictionaries(names, names, max_size=3),
            "description": texts,
            "tags": st.dictionaries(names, texts, max_size=3),
            "owner": texts,
        },
    ),
).map(lambda parts: parts[0] | parts[1])


class TestRegistry:
    @pytest.mark.parametrize(
        ("definition", "place", "in_words"),
        [
            (
                {"path": "hdfs://lake/flights"},
                {"lake": "hdfs", "site": "hdfs://lake", "location": "hdfs://lake/flights"},
                "[hdfs: hdfs://lake/flights]",
            ),
            (
                {"path": "abfss://raw@acct.dfs.core.windows.net/w"},
                {
                    "lake": "adls",
                    "site": "abfss://raw@acct.dfs.core.windows.net",
                    "location": "abfss://raw@acct.dfs.core.windows.net/w",
                },
                "[adls: abfss://raw@acct.dfs.core.windows.net/w]",
            ),
            (
                {"table": "db.t", "site": "onprem"},
                {"site": "onprem", "location": "db.t"},
                "[table db.t of site onprem]",
            ),
            ({"query": "select 1 as a"}, {"location": "select 1 as a"}, "[a query]"),
        ],
        ids=["hdfs", "adls", "table", "query"],
    )
    def test_its_entry_says_in_tags_and_in_words_where_the_rows_are(
        self, definition: dict[str, Any], place: dict[str, str], in_words: str
    ) -> None:
        tagged = HybridSparkSource(name="s", tags={"team": "risk"}, **definition)
        entry = tagged.to_proto()
        assert dict(entry.tags) == {"team": "risk"} | {f"feast_hybrid.{key}": value for key, value in place.items()}
        assert tagged.tags == DataSource.from_proto(entry).tags == {"team": "risk"}
        for description, written in (
            ("", in_words),
            ("how they felt", f"how they felt {in_words}"),
            (" ", f"  {in_words}"),
        ):
            described = HybridSparkSource(name="s", description=description, **definition)
            entry = described.to_proto()
            assert entry.description == written
            assert described.description == DataSource.from_proto(entry).description == description

    @pytest.mark.parametrize("description", ["", "as it was", "as it was "])
    def test_an_entry_that_says_it_in_tags_alone_keeps_its_description(self, description: str) -> None:
        entry = source().to_proto()
        entry.description = description
        assert DataSource.from_proto(entry).description == description

    def test_a_tag_of_ours_is_refused(self) -> None:
        with pytest.raises(SourceError, match=r"the tag 'feast_hybrid\.site' is written by the source itself"):
            HybridSparkSource(name="s", path=PATH, tags={"feast_hybrid.site": "mine"})

    @given(definitions)
    @settings(max_examples=200)
    def test_what_goes_in_comes_back(self, definition: dict[str, Any]) -> None:
        before = HybridSparkSource(**definition)
        written = DataSourceProto.FromString(before.to_proto().SerializeToString())
        after = DataSource.from_proto(written)
        assert isinstance(after, HybridSparkSource)
        assert after == before
        assert after.to_proto() == before.to_proto()
        for field in ("path", "file_format", "options", "table", "query", "site", "date_partition_column_format"):
            assert getattr(after, field) == getattr(before, field)

    @pytest.mark.parametrize("difference", DIFFERENCES, ids=str)
    def test_any_difference_survives(self, difference: dict[str, Any]) -> None:
        assert DataSource.from_proto(source(**difference).to_proto()) == source(**difference)

    def test_it_is_a_custom_source_in_json_that_people_can_read(self) -> None:
        proto = source(path="hdfs://lake/zürich", options={"mergeSchema": "true"}).to_proto()
        assert proto.type == DataSourceProto.CUSTOM_SOURCE
        assert json.loads(proto.custom_options.configuration) == {
            "path": "hdfs://lake/zürich",
            "file_format": "parquet",
            "options": {"mergeSchema": "true"},
            "date_partition_column_format": "%Y-%m-%d",
        }
        assert "zürich" in proto.custom_options.configuration.decode()

    def test_the_same_source_is_written_in_the_same_bytes(self) -> None:
        one, two = source(options={"a": "1", "b": "2"}), source(options={"b": "2", "a": "1"})
        assert one.to_proto().custom_options == two.to_proto().custom_options

    def test_nothing_is_pickled(self) -> None:
        configuration = source().to_proto().custom_options.configuration
        assert configuration.startswith(b"{")
        assert b"\x80\x04" not in configuration

    @pytest.mark.parametrize("configuration", [b"", b"\x80\x04K\x01.", b"not json", b"[1]", b"\xff"])
    def test_an_entry_of_another_kind_is_refused(self, configuration: bytes) -> None:
        proto = source().to_proto()
        proto.custom_options.configuration = configuration
        with pytest.raises(SourceError) as refused:
            DataSource.from_proto(proto)
        assert str(refused.value) == "source 's': its entry in the registry is not a HybridSparkSource's JSON."

    def test_an_entry_of_a_newer_version_asks_for_an_upgrade(self) -> None:
        proto = source().to_proto()
        spec = json.loads(proto.custom_options.configuration) | {"catalog": "x"}
        proto.custom_options.configuration = json.dumps(spec).encode()
        with pytest.raises(SourceError) as refused:
            DataSource.from_proto(proto)
        assert str(refused.value) == (
            "source 's': its entry in the registry was written by a newer feast-hybrid; upgrade this one."
        )

    def test_it_is_registered_under_its_public_name(self) -> None:
        assert source().to_proto().data_source_class_type == "feast_hybrid.HybridSparkSource"

    def test_feast_knows_it_by_its_public_name_too(self) -> None:
        assert HybridSparkSource.__module__ == "feast_hybrid"
