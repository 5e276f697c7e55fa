"""What Spark's own parser makes of SQL text, asked before Spark is told to run it.

The parser of :mod:`feast_hybrid.spark.sql_rules` is another than Spark's: where the two read a text differently,
what was checked would not be what runs. Spark Classic shows the plan that it parsed; Spark Connect has no such call.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from feast_hybrid.spark.runtime import is_connect
from feast_hybrid.spark.sql_functions import TYPED_BY_TEXT, TYPES_OF_EXAMPLES
from feast_hybrid.spark.sql_rules import path_as_table, plain_name, type_not_as_text, unknown_function

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from feast_hybrid.errors import HybridError

#: What Spark's plans that do more than to compute rows are, and ends of the names of others, or of what hides a name.
_PLANS = "org.apache.spark.sql.catalyst.plans.logical."
_NO_SELECT = ("Command", "ParsedStatement")
_ENDINGS = ("ScriptTransformation", "Command", "Statement", "CompoundBody", "UnresolvedIdentifier")


def refuse_unsafe_plan(
    session: SparkSession, text: str, *, what: str, error: type[HybridError], more_functions: Collection[str] = ()
) -> None:
    """As :func:`~feast_hybrid.spark.sql_rules.refuse_unsafe`, of what Spark's own parser makes of the text.

    Raises:
        HybridError: of the given class.
        ParseException: Spark does not parse the text.
    """
    if is_connect(session):
        return
    classic: Any = session
    plan = classic._jsparkSession.sessionState().sqlParser().parsePlan(text)
    commands = [classic._jvm.java.lang.Class.forName(_PLANS + name) for name in _NO_SELECT]
    functions = {name.lower() for name in more_functions}
    for node in _nodes(plan):
        fault = _fault(node, functions)
        if fault is None and any(command.isInstance(node) for command in commands):
            fault = _more_than_a_select(node.getClass().getSimpleName())
        if fault is not None:
            raise error(f"{what} {fault}")


def _fault(node: Any, more_functions: Collection[str]) -> str | None:
    name = node.getClass().getSimpleName()
    if name == "UnresolvedRelation":
        return path_as_table(_items(node.multipartIdentifier()))
    if name == "UnresolvedFunction":
        called = ".".join(_items(node.nameParts())).lower()
        fault = unknown_function(called, more_functions)
        if fault is None and plain_name(called) in TYPED_BY_TEXT:
            plain = all(_is_plain(argument) for argument in _items(node.arguments())[1:])
            return None if plain else type_not_as_text(called)
        return fault
    if name == "UnresolvedTableValuedFunction":
        return unknown_function(".".join(_items(node.name())).lower(), more_functions)
    if name == "UnresolvedGenerator":
        return unknown_function(node.name().unquotedString().lower(), more_functions)
    return _more_than_a_select(name) if name.endswith(_ENDINGS) else None


def _is_plain(argument: Any) -> bool:
    """Whether an argument is a text that no JSON can be, the type of an example, or a map of options."""
    name = argument.getClass().getSimpleName()
    if name == "Literal":
        return "{" not in str(argument.toString())
    if name != "UnresolvedFunction":
        return False
    return ".".join(_items(argument.nameParts())).lower() in {"map", *TYPES_OF_EXAMPLES}


def _more_than_a_select(name: str) -> str:
    return f"is more than a SELECT to Spark: it has {name}."


def _nodes(plan: Any) -> Iterator[Any]:
    """All plans and expressions of a plan: those of subqueries and common table expressions too."""
    plans: list[Any] = [plan]
    expressions: list[Any] = []
    while plans or expressions:
        if expressions:
            node = expressions.pop()
            expressions += _items(node.children())
        else:
            node = plans.pop()
            plans += [*_items(node.children()), *_items(node.innerChildren())]
            if node.getClass().getSimpleName() == "RelationTimeTravel":  # whose relation is no child
                plans.append(node.relation())
            expressions += _items(node.expressions())
        yield node


def _items(sequence: Any) -> list[Any]:
    return [sequence.apply(index) for index in range(sequence.size())]
