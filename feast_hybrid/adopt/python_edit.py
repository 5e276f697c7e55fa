"""``SparkSource(...)`` and ``FileSource(...)`` in Python files made ``HybridSparkSource(...)``; all else stays.

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
    "FileSource": (
        "feast.infra.offline_stores.file_source",
        "feast.infra.offline_stores",
        "feast",
        "feast.data_source",
    ),
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
    unix = text.replace("\r\n", "\n")
    made = _rewrite(unix, several_sites=several_sites)
    made.text = text if not made.count else made.text.replace("\n", "\r\n") if unix != text else made.text
    return made


def _rewrite(text: str, *, several_sites: bool) -> Rewritten:
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
        try:
            made = _rewritten(node, cls, positions, several_sites=several_sites)
        except _StaysError as stays:
            result.left.append(Left(node.lineno, node.func.id, str(stays)))
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


class _StaysError(Exception):
    """A call's text does not say what it means to us; the exception says why."""


def _rewritten(call: ast.Call, cls: str, positions: _Positions, *, several_sites: bool) -> list[_Edit]:
    """The edits of a call's arguments.

    Raises:
        _StaysError: it is left as it is.
    """
    given = _arguments(call)
    nothing = [name for name in given if _is_none(given[name].value) and name not in _SAME]
    edits = [positions.without(call, given.pop(name)) for name in nothing]  # as if they were not there
    known = {*_SAME, "path", "file_format", *(("table", "query", "table_format") if cls == "SparkSource" else ())}
    if unknown := [name for name in given if name not in known]:
        raise _StaysError(f"{unknown[0]} has no meaning for a {NEW}")
    if "timestamp_field" not in given:
        raise _StaysError(
            f"it has no timestamp_field, which Feast infers for its own sources alone: name it for a {NEW}"
        )
    if "tags" in given and SITE_TAG in ast.unparse(given["tags"].value):
        raise _StaysError(f"its tag {SITE_TAG} says where it is: write site= for a {NEW}")
    place = _place(given, several_sites=several_sites)
    if "name" not in given and place == "path":
        edits.append(positions.before(given["path"], f"name={ast.unparse(given['path'].value)}, "))
    return [*edits, *_format(call, given, cls, positions)]


def _arguments(call: ast.Call) -> dict[str, ast.keyword]:
    if call.args:
        raise _StaysError("it has arguments without names")
    given = {keyword.arg: keyword for keyword in call.keywords if keyword.arg is not None}
    if len(given) < len(call.keywords):
        raise _StaysError("it has **arguments, of which the text does not say what they are")
    return given


def _place(given: Mapping[str, ast.keyword], *, several_sites: bool) -> str:
    """Which of path, table and query says where the rows are."""
    places = [name for name in _PLACES if name in given]
    if len(places) != 1:
        found = " and ".join(places) or "none of them"
        raise _StaysError(f"a {NEW} has exactly one of path, table and query; found {found}")
    (place,) = places
    if place == "path":
        _require_uri(given[place].value)
        return place
    if several_sites:
        raise _StaysError(f"a {NEW} of a {place} names its site where there are several: write site=")
    if place == "table" and not _is_plain_name(given[place].value):
        raise _StaysError("its table is not a name of plain words")
    if "table_format" in given or "file_format" in given:
        raise _StaysError(f"it has a format, which goes with a path, and a {place}")
    if place == "query" and "name" not in given:
        raise _StaysError("it has no name")
    return place


def _format(call: ast.Call, given: Mapping[str, ast.keyword], cls: str, positions: _Positions) -> list[_Edit]:
    """The edits of a path's format."""
    of_table, of_file = given.get("table_format"), given.get("file_format")
    if of_table is not None:
        name = _called_without_arguments(of_table.value)
        if name not in _FORMATS:
            raise _StaysError("its table_format is more than a name: write file_format= and options=")
        edits = [positions.edit(of_table, f"file_format={_FORMATS[name]}")]
        return [*edits, positions.without(call, of_file)] if of_file is not None else edits
    if of_file is not None and cls == "FileSource":
        name = _called_without_arguments(of_file.value)
        if name not in ("ParquetFormat", "DeltaFormat"):
            raise _StaysError("its file_format is none of ParquetFormat() and DeltaFormat()")
    return []


def _called_without_arguments(node: ast.expr) -> str:
    if not isinstance(node, ast.Call) or node.args or node.keywords:
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_plain_name(node: ast.expr) -> bool:
    """Whether a table's name means the same to Spark's parser."""
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return False
    return all(part.isidentifier() and part.isascii() for part in node.value.split("."))


def _require_uri(node: ast.expr) -> None:
    """See that a path is one that a source of ours takes, or begins as one."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            parse_uri(node.value)
        except RoutingError:
            raise _StaysError(
                f"its path is no URI such as hdfs://… or abfss://…, and a {NEW} takes no other"
            ) from None
        return
    if isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant):
        scheme, separator, _ = str(node.values[0].value).partition("://")
        if separator and scheme.lower() in SCHEMES:
            return
    raise _StaysError("its path is computed, and the text does not say whether it has a scheme")


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
        edits.append(
            positions.after(last, f"\n{ours}") if last is not None else positions.at_start(tree, f"{ours}\n")
        )
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
