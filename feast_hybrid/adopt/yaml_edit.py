"""``feature_store.yaml`` with another ``offline_store``, and every other line as it was: comments, order, anchors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from feast_hybrid.adopt.settings import FIELDS, Adopted
from feast_hybrid.errors import ConfigError

_KEY = "offline_store"


class NotEditableError(ConfigError):
    """The file has a form that is not changed without losing something: whoever wrote it has to."""


@dataclass(frozen=True)
class _Entry:
    """A line ``key: value`` of a block, with what belongs to it.

    Attributes:
        key: its text.
        value: of the syntax tree.
        start: the number of its line.
        end: of the line behind it: comments that follow belong to the next entry.
        column: where the key begins.
    """

    key: str
    value: yaml.Node
    start: int
    end: int
    column: int


def with_section(text: str, adopted: Adopted) -> str:
    """The file with a section in our words.

    Args:
        text: of the file.
        adopted: the section.

    Raises:
        NotEditableError: the section is an alias, or what has to move is in one; or the result would not mean what
            it should, or lack a comment.
    """
    unix = text.replace("\r\n", "\n")
    edited = _Document(unix).with_section(adopted)
    _require_same(unix, edited, adopted.section)
    if not unix.endswith("\n"):
        edited = edited.removesuffix("\n")
    return edited.replace("\n", "\r\n") if unix != text else edited


class _Document:
    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.splitlines(keepends=True)
        if self.lines and not self.lines[-1].endswith("\n"):
            self.lines[-1] += "\n"
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            self.aliased = {token.value for token in yaml.scan(text) if isinstance(token, yaml.AliasToken)}
        except yaml.YAMLError:
            raise NotEditableError(
                "feature_store.yaml is YAML only once the environment's variables are put in: put quotes around "
                "each ${VARIABLE} that stands in braces."
            ) from None
        if not isinstance(root, yaml.MappingNode) or root.flow_style:
            raise NotEditableError("feature_store.yaml has to have a line for each key.")
        self.root = root

    def with_section(self, adopted: Adopted) -> str:
        top = self._entries(self.root)
        found = next((entry for entry in top if entry.key == _KEY), None)
        if found is None:
            after = next((entry.end for entry in top if entry.key == "provider"), len(self.lines))
            self.lines[after:after] = _dumped({_KEY: adopted.section}, 0)
        elif isinstance(found.value, yaml.MappingNode) and not found.value.flow_style and _is_here(found):
            self._edit(found, adopted)
        elif _is_here(found) and "&" not in self._between(found):
            self.lines[found.start : found.end] = _dumped({_KEY: adopted.section}, 0)
        else:
            raise NotEditableError(f"{_KEY} is an alias or an anchor: write it out first.")
        return "".join(self.lines)

    def _edit(self, section: _Entry, adopted: Adopted) -> None:
        """Change the entries of a block, from the last to the first, so that line numbers stay right."""
        entries = self._entries(section.value)
        if any(entry.key == "<<" for entry in entries):
            raise NotEditableError(f"{_KEY} merges an anchor (<<): write it out first.")
        column = entries[0].column
        new = {key: value for key, value in adopted.section.items() if key in ("type", "sites")}
        for entry in reversed(entries):
            if entry.key in adopted.dropped:
                del self.lines[entry.start : entry.end]
            elif entry.key == "spark_conf":
                self.lines[entry.start : entry.end] = self._spark(entry, adopted)
            elif entry.key == "type":
                self._replace_scalar(entry, str(new.pop("type")))
                if "sites" in new:
                    self.lines[entry.end : entry.end] = _dumped({"sites": new.pop("sites")}, column)
        if new:  # no type was there
            start = entries[0].start
            self.lines[start:start] = _dumped(new, column)

    def _spark(self, entry: _Entry, adopted: Adopted) -> list[str]:
        """``spark_conf`` as ``spark``: its lines stand one step further right, below ``conf``."""
        spark = adopted.section.get("spark", {})
        is_block = isinstance(entry.value, yaml.MappingNode) and not entry.value.flow_style and _is_here(entry)
        head = self._between(entry)
        if not is_block:
            if _is_here(entry) and "&" not in head:
                return _dumped({"spark": spark}, entry.column) if spark else []
            if adopted.moved:
                raise NotEditableError("spark_conf is an alias or an anchor, and settings of it have to move.")
            return [f"{' ' * entry.column}spark:\n", f"{' ' * (entry.column + 2)}conf:{head}\n"]
        children = self._entries(entry.value)
        anchor = head.strip().removeprefix("&").split(" ")[0] if head.strip().startswith("&") else ""
        if anchor in self.aliased and adopted.moved:
            raise NotEditableError(
                f"spark_conf is repeated elsewhere (*{anchor}), and settings of it have to move: write it out first."
            )
        step = max(children[0].column - entry.column, 1)
        inner = " " * (entry.column + step)
        fields, kept = [], []
        line = entry.start + 1
        for child in children:
            kept += [_shifted(text, step) for text in self.lines[line : child.start]]  # comments before it
            if child.key in adopted.moved:
                if child.key in FIELDS:
                    rest = self.lines[child.start][_value_column(child) :].rstrip("\n")
                    fields.append(f"{inner}{FIELDS[child.key]}: {rest}\n")
            else:
                kept += [_shifted(text, step) for text in self.lines[child.start : child.end]]
            line = child.end
        if "conf" not in spark:
            kept = [text[step:] for text in kept]
            return [f"{' ' * entry.column}spark:{head if fields else ''}\n", *fields, *kept] if fields else kept
        return [f"{' ' * entry.column}spark:\n", *fields, f"{inner}conf:{head}\n", *kept]

    def _between(self, entry: _Entry) -> str:
        """What stands behind a key's colon in its line, such as an anchor or a comment."""
        return self.lines[entry.start].rstrip("\n").partition(":")[2]

    def _replace_scalar(self, entry: _Entry, value: str) -> None:
        start, end = entry.value.start_mark, entry.value.end_mark
        if start.line != entry.start or start.line != end.line or not _is_here(entry):
            raise NotEditableError(f"{_KEY}.type has to stand behind its key.")
        line = self.lines[start.line]
        self.lines[start.line] = line[: start.column] + value + line[end.column :]

    def _entries(self, mapping: yaml.Node) -> list[_Entry]:
        assert isinstance(mapping, yaml.MappingNode)
        found = []
        for key, value in mapping.value:
            stop = key.end_mark.line + 1
            if _begins_behind(key, value):
                # The end of a block is where the next thing begins.
                stop = max(stop, value.end_mark.line + (0 if _is_block(value) else 1))
            while stop > key.start_mark.line + 1 and _says_nothing(self.lines[stop - 1]):
                stop -= 1
            stop = max(stop, key.start_mark.line + 1)
            found.append(_Entry(str(key.value), value, key.start_mark.line, stop, key.start_mark.column))
        return found


def _begins_behind(key: yaml.Node, value: yaml.Node) -> bool:
    return bool(value.start_mark.index >= key.end_mark.index)


def _is_block(value: yaml.Node) -> bool:
    if isinstance(value, yaml.ScalarNode):
        return value.style in ("|", ">")
    return isinstance(value, yaml.CollectionNode) and not value.flow_style


def _is_here(entry: _Entry) -> bool:
    """Whether a value stands where it is used: an alias leads elsewhere."""
    return bool(entry.value.start_mark.line >= entry.start)


def _value_column(entry: _Entry) -> int:
    return int(entry.value.start_mark.column)


def _says_nothing(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _shifted(line: str, step: int) -> str:
    return " " * step + line if line.strip() else line


def _dumped(content: Mapping[str, Any], column: int) -> list[str]:
    text = yaml.safe_dump(dict(content), sort_keys=False, default_flow_style=False, width=1000, allow_unicode=True)
    return [" " * column + line for line in text.splitlines(keepends=True)]


def _require_same(before: str, after: str, section: Mapping[str, Any]) -> None:
    """See that nothing but the section has changed its meaning, and that no comment is gone."""
    was, now = yaml.safe_load(before), yaml.safe_load(after)
    rest = [{key: value for key, value in each.items() if key != _KEY} for each in (was, now)]
    if now.get(_KEY) != dict(section) or rest[0] != rest[1]:
        raise NotEditableError("feature_store.yaml has a form that is not changed line by line: write it by hand.")
    gone = [comment for comment in _comments(before) if comment not in after]
    if gone:
        raise NotEditableError(
            f"feature_store.yaml: a comment would be lost ({gone[0]!r}): put it on a line of its own first."
        )


def _comments(text: str) -> Sequence[str]:
    return [line.strip() for line in text.splitlines() if line.lstrip().startswith("#")]
