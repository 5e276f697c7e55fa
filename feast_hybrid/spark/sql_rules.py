"""What SQL text may do: compute on sources and on tables of catalogs, and nothing else.

Whoever writes to the registry may have fewer rights than whoever retrieves, so text from there is no program: it runs
no script, calls nothing of the JVM, opens no path and no URL. All of it is allowed by name; what is not known is
refused. :mod:`feast_hybrid.spark.sql_plans` asks Spark Classic's own parser the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import TokenType, exp

from feast_hybrid.spark.sql_functions import (
    FUNCTIONS,
    TYPED_BY_TEXT,
    TYPES_OF_EXAMPLES,
    WORDS_BEFORE_PARENTHESES,
)

if TYPE_CHECKING:
    from sqlglot import Token
    from sqlglot.expressions import Expr, Query

    from feast_hybrid.errors import HybridError

_PATH_FORMATS = "parquet orc csv json text avro xml delta iceberg hudi binaryfile image libsvm jdbc kafka rate socket"
#: What Spark takes for ``format.`path``` where a table's schema could stand.
PATH_FORMATS = frozenset(_PATH_FORMATS.split())

_PART_NAMES = """
Alias Aliases Between Boolean Bracket CTE Cluster Column ColumnDef Cube DataType DataTypeParam Distinct
Distribute Escape Except Fetch Filter From Group GroupingSets Having HavingMax HexString Hint Identifier
IgnoreNulls In Interval Join JoinHint Kwarg Lambda Lateral Limit LimitOptions Literal National Null Offset
Order Ordered Paren Pivot PivotAlias PivotAny PropertyEQ Qualify RawString Reduce RespectNulls Rollup Slice
Sort Star Subquery Table TableAlias TableSample Tuple Unnest UnpivotColumns Values Var Version Where Window
WindowSpec With WithinGroup
"""
_OPENING, _CLOSING = (TokenType.L_PAREN, TokenType.L_BRACKET), (TokenType.R_PAREN, TokenType.R_BRACKET)
#: Parts of a SELECT that hold no function and no relation of their own.
_PARTS = tuple(getattr(exp, name) for name in _PART_NAMES.split())


def refuse_unsafe(
    text: str, query: Query, *, what: str, error: type[HybridError], more_functions: Collection[str] = ()
) -> None:
    """Refuse SQL text that does more than to compute on tables.

    Args:
        text: the text, as Spark would be given it.
        query: the text, parsed.
        what: how the message names it.
        error: what to raise.
        more_functions: names of functions that are allowed beside Spark's own, such as ``sales.net_price``.

    Raises:
        HybridError: of the given class; names the first thing that is not allowed, and what allows it.
    """
    faults = _faults(text, query, {name.lower() for name in more_functions})
    found = next((fault for fault in faults if fault is not None), None)
    if found is not None:
        raise error(f"{what} {found}")


def unknown_function(name: str, more_functions: Collection[str]) -> str | None:
    """What is wrong with a call of a function, in a clause; None where it may be called.

    Args:
        name: in lower case, after its schema where one is given.
        more_functions: what is allowed beside Spark's own, in lower case.
    """
    if name in more_functions or plain_name(name) in FUNCTIONS:
        return None
    return (
        f"calls {name}, which is none of the functions that SQL text may call: those of Spark that compute. "
        f"Where it is one that you trust, allow it: offline_store.sql.allow_functions: [{name}]."
    )


def plain_name(name: str) -> str:
    """A function's name without the schema that holds Spark's own; a catalog may have a schema ``system``."""
    return name.removeprefix("system.builtin.").removeprefix("builtin.")


def type_not_as_text(name: str) -> str:
    """What is wrong with a call of :data:`TYPED_BY_TEXT` whose type is no plain text, in a clause."""
    return (
        f"calls {name} with a type that is not plain text. Write it as a literal such as 'a INT, b STRING', or as "
        "schema_of_json('…'), without braces and backslashes, and options as map('…', '…')."
    )


def path_as_table(parts: Sequence[str]) -> str | None:
    """What is wrong with a table whose name's parts name a path, ``parquet.`/orders```, in a clause; else None."""
    of_format = len(parts) == 2 and parts[0].lower() in PATH_FORMATS
    if len(parts) == 1 or (not of_format and not any("/" in part or ":" in part for part in parts)):
        return None
    return (
        f"reads the path {'.'.join(parts)!r} as a table. SQL text reads sources by their names and tables of the "
        "session's catalogs: make the path a source."
    )


def _faults(text: str, query: Query, more_functions: set[str]) -> Iterator[str | None]:
    if "${" in text:
        yield "has ${…}, where Spark puts in a setting or a variable of the environment: take it out."
    tokens = sqlglot.tokenize(text, dialect="spark")
    for comment in (comment for token in tokens for comment in token.comments):
        if "/*" in comment or "\\" in comment:
            yield (
                "has a comment within a comment, or a backslash in one, which Spark and the parser here end in "
                "different places: take the comment out."
            )
    for node in query.walk():
        if isinstance(node, exp.Table):
            yield path_as_table([part.name for part in node.parts])
        elif not isinstance(node, (exp.Query, exp.Func, exp.Binary, exp.Unary, exp.Predicate, *_PARTS)):
            yield f"has {_words(node)}, which SQL text may not have: it selects, joins and computes, and no more."
    for name, index in _calls(tokens, query):
        yield unknown_function(name, more_functions)
        if plain_name(name) in TYPED_BY_TEXT and not all(
            _is_plain(argument, text) for argument in _arguments(tokens, index)[1:]
        ):
            yield type_not_as_text(name)


def _calls(tokens: list[Token], query: Query) -> Iterator[tuple[str, int]]:
    """Names before parentheses, with their schemas, in lower case: functions, whatever the parser made of them.

    With each comes the place of its parenthesis among the tokens.
    """
    # What names a relation and its columns, as in t(a, b), calls nothing; elsewhere the same name does.
    aliases = {alias.this.meta.get("start") for alias in query.find_all(exp.TableAlias) if alias.columns}
    for index, (token, following) in enumerate(pairwise(tokens)):
        if following.token_type != TokenType.L_PAREN or not _is_name(token):
            continue
        first = index
        while first >= 2 and tokens[first - 1].token_type == TokenType.DOT:
            first -= 2
        name = ".".join(part.text.lower() for part in tokens[first : index + 1 : 2])
        word = first == index and name in WORDS_BEFORE_PARENTHESES and token.token_type != TokenType.IDENTIFIER
        if not word and not (first == index and token.start in aliases):
            yield name, index + 1


def _arguments(tokens: list[Token], opening: int) -> list[list[Token]]:
    """The tokens of each argument of a call, whose parenthesis is at a place."""
    arguments: list[list[Token]] = [[]]
    depth = 0
    for token in tokens[opening:]:
        depth += (token.token_type in _OPENING) - (token.token_type in _CLOSING)
        if depth == 0:
            break
        if depth == 1 and token.token_type == TokenType.COMMA:
            arguments.append([])
        elif depth > 1 or token.token_type not in _OPENING:
            arguments[-1].append(token)
    return arguments


def _is_plain(argument: list[Token], text: str) -> bool:
    """Whether an argument is a text that no JSON can be, the type of an example, or a map of options."""
    if len(argument) == 1:
        written = text[argument[0].start : argument[0].end + 1]
        return argument[0].token_type == TokenType.STRING and not set(written) & {"{", "\\"}
    if len(argument) < 3 or argument[1].token_type != TokenType.L_PAREN:
        return False
    name, inside = argument[0].text.lower(), argument[2:-1]
    plain = all(token.token_type in (TokenType.STRING, TokenType.COMMA) for token in inside)
    return name in {"map", *TYPES_OF_EXAMPLES} and plain and argument[-1].token_type == TokenType.R_PAREN


def _is_name(token: Token) -> bool:
    return token.token_type in (TokenType.IDENTIFIER, TokenType.VAR) or token.text.replace("_", "a").isalnum()


def _words(node: Expr) -> str:
    return {
        "querytransform": "TRANSFORM … USING, which runs a script",
        "placeholder": "a parameter marker",
        "parameter": "a parameter marker",
    }.get(node.key, node.key.upper())
