"""``SparkSource(...)`` and ``FileSource(...)`` in Python files made ``HybridSparkSource(...)``; all else stays as it is.

A call is rewritten where its text alone says what it means. What does not is left, and said to be.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from feast_hybrid.errors import RoutingError
from feast_hybrid.lakes import SCHEMES, parse_uri
from feast_hybrid.sources.feast_sources import SITE_TAG

NEW = "HybridSparkSource"
#: From which modules of Feast's the classes come.
_MODULES = {
    "SparkSource": (
        "feast.infra.offline_stores.contrib.spark_offline_store.spark_source",
        "feast.infra.offline_stores.contrib.spark_offline_store",
        "feast",
    ),
    "FileSource": ("feast.infra.offline_stores.file_source", "feast.infra.offline_stores", "feast", "feast.data_source"),
}
_SAME = (
    *("name", "timestamp_field", "created_timestamp_column", "field_mapping", "description", "tags", "owner"),
    *("date_partition_column", "date_partition_column_format"),
)
_PLACES = ("path", "table", "query")
_FORMATS = {"DeltaFormat": '"delta"', "IcebergFormat": '"iceberg"'}


@dataclass(frozen=True)
class Left:
    """A call that stays as it is.

    Attributes:
        line: its number, from 1 on.
        call: the class's name.
        reason: why.
    """

    line: int
    call: str
    reason: str


@dataclass
class Rewritten:
    """A file after its calls were rewritten.

    Attributes:
        text: of the file.
        count: of the calls.
        left: those that stay.
    """

    text: str
    count: int = 0
    left: list[Left] = field(default_factory=list)


@dataclass(frozen=True)
class _Edit:
    start: int
    end: int
    text: str


def rewrite_sources(text: str, *, several_sites: bool) -> Rewritten:
    """A Python file whose sources of Feast's are ours.

    Args:
        text: of the file.
        several_sites: whether tables and queries have to name their site, which ``SparkSource`` has no word for.

    Raises:
        SyntaxError: it is no Python.
    """
    tree = ast.parse(text)
    positions = _Positions(text)
    imported = {node: _classes(node) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    classes = {bound: cls for names in imported.values() for bound, cls in names.items()}
    result = Rewritten(text)
    edits: list[_Edit] = []
    rewritten: set[ast.AST] = set()
    changed: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if not isinstance(node.func, ast.Name):
            if isinstance(node.func, ast.Attribute) and node.func.attr in _MODULES:
                result.left.append(Left(node.lineno, node.func.attr, "it is called by its module's name"))
            continue
        cls = classes.get(node.func.id)
        if cls is None:
            continue
        made = _rewritten(node, cls, positions, several_sites=several_sites)
        if isinstance(made, str):
            result.left.append(Left(node.lineno, node.func.id, made))
            continue
        edits += [positions.edit(node.func, NEW), *made]
        rewritten.add(node.func)
        changed.add(node.func.id)
        result.count += 1
    used = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node not in rewritten and node.id in classes
    }
    named = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}  # in __all__, as annotations
    if result.count:
        edits += _imports(tree, imported, changed - used - named, positions)
        result.text = positions.applied(edits)
        ast.parse(result.text)
    result.left.sort(key=lambda left: left.line)
    return result


def _classes(node: ast.ImportFrom) -> dict[str, str]:
    """The names that an import binds to Feast's classes, by the classes."""
    return {
        alias.asname or alias.name: alias.name
        for alias in node.names
        if alias.name in _MODULES and node.level == 0 and node.module in _MODULES[alias.name]
    }


def _rewritten(call: ast.Call, cls: str, positions: _Positions, *, several_sites: bool) -> list[_Edit] | str:
    """The edits of a call's arguments; or why it stays."""
    if call.args:
        return "it has arguments without names"
    given = {keyword.arg: keyword for keyword in call.keywords if keyword.arg is not None}
    if len(given) < len(call.keywords):
        return "it has **arguments, of which the text does not say what they are"
    edits: list[_Edit] = []
    for name in list(given):  # what says nothing is as if it were not there
        if _is_none(given[name].value) and name not in _SAME:
            edits.append(positions.without(call, given[name]))
            del given[name]
    known = {*_SAME, "path", "file_format", *(("table", "query", "table_format") if cls == "SparkSource" else ())}
    if unknown := [name for name in given if name not in known]:
        return f"{unknown[0]} has no meaning for a {NEW}"
    if "timestamp_field" not in given:
        return f"it has no timestamp_field, which Feast infers for its own sources alone: name it for a {NEW}"
    if "tags" in given and SITE_TAG in ast.unparse(given["tags"].value):
        return f"its tag {SITE_TAG} says where it is: write site= for a {NEW}"
    places = [name for name in _PLACES if name in given]
    if len(places) != 1:
        return f"it has {' and '.join(places) or 'no place'}: a {NEW} has exactly one of path, table and query"
    if places[0] != "path":
        if several_sites:
            return f"a {NEW} of a {places[0]} names its site where there are several: write site="
        if not _is_plain(given[places[0]].value, places[0]):
            return f"its {places[0]} is not a text of plain words"
        if "table_format" in given or "file_format" in given:
            return f"it has a format, which goes with a path, and a {places[0]}"
    elif reason := _no_uri(given["path"].value):
        return reason
    if "name" not in given and places[0] != "table":
        if places[0] != "path":
            return "it has no name"
        edits.append(positions.before(given["path"], f"name={ast.unparse(given['path'].value)}, "))
    made = _format(call, given, cls, positions)
    return made if isinstance(made, str) else [*edits, *made]


def _format(
    call: ast.Call, given: Mapping[str, ast.keyword], cls: str, positions: _Positions
) -> list[_Edit] | str:
    """The edits of a path's format; or why the call stays."""
    of_table, of_file = given.get("table_format"), given.get("file_format")
    if of_table is not None:
        name = _called_without_arguments(of_table.value)
        if name not in _FORMATS:
            return "its table_format is more than a name: write file_format= and options="
        edits = [positions.edit(of_table, f"file_format={_FORMATS[name]}")]
        return [*edits, positions.without(call, of_file)] if of_file is not None else edits
    if of_file is not None and cls == "FileSource":
        name = _called_without_arguments(of_file.value)
        if name not in ("ParquetFormat", "DeltaFormat"):
            return "its file_format is none of ParquetFormat() and DeltaFormat()"
    return []


def _called_without_arguments(node: ast.expr) -> str:
    if not isinstance(node, ast.Call) or node.args or node.keywords:
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_plain(node: ast.expr, place: str) -> bool:
    """Whether a table's name means the same to Spark's parser; of a query, whether it is text at all."""
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return place == "query"  # whatever it is, it was a query's text before
    return place == "query" or all(part.isidentifier() and part.isascii() for part in node.value.split("."))


def _no_uri(node: ast.expr) -> str | None:
    """Why a path cannot be that of a source of ours; None where it can."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            parse_uri(node.value)
        except RoutingError:
            return (
                f"its path is none of hdfs://, abfss:// and file://…, and a {NEW} takes no other: Feast's class stays, "
                "and is read as it is"
            )
        return None
    if isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant):
        begins = str(node.values[0].value).partition("://")
        if begins[1] and begins[0].lower() in SCHEMES:
            return None
    return "its path is computed, and the text does not say whether it has a scheme"


def _imports(
    tree: ast.Module, imported: Mapping[ast.ImportFrom, Mapping[str, str]], unused: set[str], positions: _Positions
) -> list[_Edit]:
    """The import of our class, and those of Feast's that nobody uses any more taken out."""
    has_ours = any(
        isinstance(node, ast.ImportFrom)
        and node.module == "feast_hybrid"
        and any(alias.name == NEW and alias.asname is None for alias in node.names)
        for node in tree.body
    )
    ours = f"from feast_hybrid import {NEW}"
    edits = []
    added = has_ours
    for node, names in imported.items():
        if not names:
            continue
        kept = [alias for alias in node.names if (alias.asname or alias.name) not in unused]
        top = node in tree.body
        gone = len(kept) < len(node.names)
        if not kept:
            edits.append(positions.edit(node, ours if not added and top else "pass" if not top else ""))
            added = added or top
        elif gone:
            words = [alias.name + (f" as {alias.asname}" if alias.asname else "") for alias in kept]
            edits.append(positions.names_of(node, words))
    if not added:
        last = _last_import(tree)
        edits.append(positions.after(last, f"\n{ours}") if last is not None else positions.at_start(tree, f"{ours}\n"))
    return edits


def _last_import(tree: ast.Module) -> ast.stmt | None:
    """The last of the imports that a module begins with."""
    found = None
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found = node
        elif found is not None:
            break
    return found


class _Positions:
    """Where nodes stand in the text, in bytes, as ``ast`` counts columns."""

    def __init__(self, text: str) -> None:
        self.data = text.encode()
        self.starts = [0]
        for line in self.data.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def start(self, node: ast.AST) -> int:
        return self.starts[node.lineno - 1] + int(node.col_offset)  # type: ignore[attr-defined]

    def end(self, node: ast.AST) -> int:
        return self.starts[node.end_lineno - 1] + int(node.end_col_offset)  # type: ignore[attr-defined]

    def edit(self, node: ast.AST, text: str) -> _Edit:
        end = self.end(node)
        if not text and self.data[end : end + 1] == b"\n":
            end += 1
        return _Edit(self.start(node), end, text)

    def before(self, node: ast.AST, text: str) -> _Edit:
        return _Edit(self.start(node), self.start(node), text)

    def after(self, node: ast.AST, text: str) -> _Edit:
        return _Edit(self.end(node), self.end(node), text)

    def at_start(self, tree: ast.Module, text: str) -> _Edit:
        """Behind a module's docstring, or at its beginning."""
        if ast.get_docstring(tree, clean=False) is not None:
            return self.after(tree.body[0], f"\n{text.rstrip()}")
        return _Edit(0, 0, text)

    def names_of(self, node: ast.ImportFrom, words: Sequence[str]) -> _Edit:
        """The names of an import made others, on lines of their own where they were."""
        start, end = self.start(node.names[0]), self.end(node.names[-1])
        between = self.data[self.end(node.names[0]) : self.start(node.names[1])].decode()
        separator = between if "#" not in between else ", "
        return _Edit(start, end, separator.join(words))

    def without(self, call: ast.Call, keyword: ast.keyword) -> _Edit:
        """An argument taken out with its comma, and with its line where it is alone there."""
        start, end = self.start(keyword), self.end(keyword)
        rest = self.data[end:]
        behind = len(rest) - len(rest.lstrip())
        if rest.lstrip().startswith(b","):
            end += behind + 1
            line_start = self.data.rfind(b"\n", 0, start) + 1
            line_end = self.data.find(b"\n", end)
            if not self.data[line_start:start].strip() and not self.data[end:line_end].strip():
                return _Edit(line_start, line_end + 1, "")
            end += len(self.data[end:]) - len(self.data[end:].lstrip(b" "))
        elif keyword is not call.keywords[0]:
            previous = call.keywords[call.keywords.index(keyword) - 1]
            start = self.end(previous)
        return _Edit(start, end, "")

    def applied(self, edits: Sequence[_Edit]) -> str:
        """The text after edits, which do not overlap."""
        data = self.data
        for edit in sorted(edits, key=lambda each: (each.start, each.end), reverse=True):
            data = data[: edit.start] + edit.text.encode() + data[edit.end :]
        return data.decode()
