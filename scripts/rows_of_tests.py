"""Rows of pages beside the tests that show them: what decorators of tests say. The tests are parsed, not imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FAULTS, ACCOUNT = "`make test-faults`", "with a real account"


class Mistake(Exception):  # noqa: N818
    """A row that cannot be written."""


class Form(NamedTuple):
    """What a decorator says.

    Attributes:
        decorator: its name.
        fields: its arguments.
        required: how many of them, from the first, may not be empty.
        fixture: what gives a test the text of the argument ``reads``, which it has to look for.
    """

    decorator: str
    fields: tuple[str, ...]
    required: int
    fixture: str


class Found(NamedTuple):
    """A decorator at a test.

    Attributes:
        texts: its arguments.
        test: where it stands.
        where: by what the test runs, where that is not ``make test``.
    """

    texts: dict[str, str]
    test: str
    where: str


class Module:
    """A module of tests, parsed."""

    def __init__(self, path: Path, name: str, form: Form) -> None:
        self.name = name
        self._form = form
        self._tree = ast.parse(path.read_text())
        self._constants = dict(constants(self._tree))

    def rows(self) -> Iterator[Found]:
        """The rows of its tests, in their order."""
        used: set[int] = set()
        for function, name, decorators in self._tests():
            for node in self._expanded(function.decorator_list):
                for call, beside in self._calls(node):
                    used.add(id(call))
                    yield self._row(call, function, name, self._where([*beside, *decorators]))
        for node in ast.walk(self._tree):
            if self._is_row(node) and id(node) not in used:
                raise Mistake(f"{self.name}:{node.lineno}: this row stands at no test")

    def _row(self, call: ast.Call, function: ast.FunctionDef, name: str, where: str) -> Found:
        found = dict(zip(self._form.fields, call.args, strict=False))
        found |= {keyword.arg or "": keyword.value for keyword in call.keywords}
        place = f"{self.name}:{call.lineno}"
        try:
            texts = {field: ast.literal_eval(node) for field, node in found.items()}
        except ValueError:
            raise Mistake(f"{place}: a row is made of literal texts") from None
        if unknown := set(texts) - set(self._form.fields):
            raise Mistake(f"{place}: a row has no {', '.join(sorted(unknown))}")
        if missing := [field for field in self._form.fields[: self._form.required] if not texts.get(field)]:
            raise Mistake(f"{place}: the row lacks {', '.join(missing)}")
        reads = texts.get("reads", "")
        fixture = self._form.fixture
        if reads and fixture not in [argument.arg for argument in function.args.args]:
            raise Mistake(f"{place}: {function.name} does not look for the text: give it the fixture {fixture}")
        return Found(texts, f"{self.name}::{name}", where)

    def _tests(self) -> Iterator[tuple[ast.FunctionDef, str, list[ast.expr]]]:
        """Each test, its name with its class's, and what decides when it runs."""
        of_module = [self._constants["pytestmark"]] if "pytestmark" in self._constants else []
        for node in self._tree.body:
            inner = node.body if isinstance(node, ast.ClassDef) else [node]
            outer = node.decorator_list if isinstance(node, ast.ClassDef) else []
            prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
            for function in inner:
                if isinstance(function, ast.FunctionDef) and function.name.startswith("test_"):
                    decorators = [*function.decorator_list, *outer, *of_module]
                    yield function, prefix + function.name, decorators

    def _expanded(self, nodes: list[ast.expr]) -> Iterator[ast.AST]:
        """The nodes, and the constants of the module that they name."""
        seen: set[str] = set()
        waiting: list[ast.AST] = list(nodes)
        while waiting:
            node = waiting.pop(0)
            yield node
            for name in ast.walk(node):
                if isinstance(name, ast.Name) and name.id in self._constants and name.id not in seen:
                    seen.add(name.id)
                    waiting.append(self._constants[name.id])

    def _where(self, marks: list[ast.expr]) -> str:
        if any(self._is(mark, "account", "FEAST_HYBRID_ACCOUNT_URI") for mark in marks):
            return ACCOUNT
        if any(self._is(mark, "MINUTES", "FEAST_HYBRID_FAULT_ROUNDS") for mark in marks):
            return FAULTS
        seeds = any(
            isinstance(node, ast.Name) and node.id == "SEEDS"
            for mark in self._expanded(marks)
            for node in ast.walk(mark)
        )
        return f"many seeds in {FAULTS}" if seeds else ""

    def _is(self, mark: ast.expr, name: str, condition: str) -> bool:
        """Whether a mark is the one of a name, or skips a test unless a variable is set."""
        if isinstance(mark, (ast.List, ast.Tuple)):
            return any(self._is(each, name, condition) for each in mark.elts)
        if isinstance(mark, ast.Name):
            known = self._constants.get(mark.id)
            return mark.id == name or (known is not None and self._is(known, name, condition))
        if isinstance(mark, ast.Attribute):
            return mark.attr == name
        skips = isinstance(mark, ast.Call) and isinstance(mark.func, ast.Attribute) and mark.func.attr == "skipif"
        return skips and condition in ast.dump(mark.args[0])

    def _is_row(self, node: ast.AST) -> bool:
        name = self._form.decorator
        return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name

    def _calls(self, node: ast.AST) -> Iterator[tuple[ast.Call, list[ast.expr]]]:
        """The rows in an expression, each with the marks of the same ``pytest.param``."""
        if isinstance(node, ast.Call):
            if self._is_row(node):
                yield node, []
                return
            if isinstance(node.func, ast.Attribute) and node.func.attr == "param":
                marks = [keyword.value for keyword in node.keywords if keyword.arg == "marks"]
                for mark in marks:
                    yield from ((call, marks) for call, _ in self._calls(mark))
                return
        for child in ast.iter_child_nodes(node):
            yield from self._calls(child)


def constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """The names that a module gives at its top level, and to what."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            yield node.target.id, node.value


def found_in(root: Path, form: Form) -> list[Found]:
    """All decorators of a form, in the order of the files' names."""
    tests = root / "tests"
    return [
        found
        for path in sorted(tests.rglob("test_*.py"))
        for found in Module(path, str(path.relative_to(tests)), form).rows()
    ]


def alternatives(path: Path, name: str) -> list[str]:
    """What a ``Literal`` of a module may be, in its order."""
    return list(ast.literal_eval(dict(constants(ast.parse(path.read_text())))[name].slice))


def line(*cells: str) -> str:
    """A row of a table in Markdown."""
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def quoted(reads: str) -> str:
    """A text that a user reads."""
    return f"`{reads}`" if reads and "`" not in reads else reads
