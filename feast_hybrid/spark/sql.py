"""SQL text that users give: one SELECT, recognised without running it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.expressions import Table, With

if TYPE_CHECKING:
    from sqlglot import Token
    from sqlglot.expressions import Expr, Query

    from feast_hybrid.errors import HybridError


#: So many brackets after names of types lie in one another, and so many of any: what people write has fewer.
_MAX_TYPES_IN_TYPES, _MAX_BRACKETS = 8, 200
_TOO_DEEP = "it is nested too deeply"


def single_select(text: str, *, what: str, error: type[HybridError], unparsed_hint: str = "") -> Query:
    """Parse SQL text and refuse whatever is not one SELECT.

    Args:
        text: as Spark would be given it.
        what: how the message names it, such as ``source 'weather': query``.
        error: what to raise.
        unparsed_hint: what to do about text that does not parse here and may in Spark; a sentence, after a space.

    Raises:
        HybridError: of the given class; it names what was found instead, or where the text does not parse.
    """
    reason: str | None = None
    try:
        # What begins otherwise is not parsed at all: sqlglot logs warnings about statements that it does not know.
        tokens = sqlglot.tokenize(text, dialect="spark")
        first = next((token for token in tokens if token.token_type != TokenType.L_PAREN), None)
        if first is None or first.token_type not in (TokenType.SELECT, TokenType.WITH, TokenType.FROM):
            found = first.text.upper() if first else "nothing"
            raise error(f"{what} must be a single SELECT; found {found}.")
        _refuse_deep_types(tokens)
        parsed = sqlglot.parse(text, dialect="spark")
        statements = [part for part in parsed if part is not None and not isinstance(part, exp.Semicolon)]
    except ParseError as fault:
        first_fault = fault.errors[0] if fault.errors else {}
        where = f" at line {first_fault['line']}, column {first_fault['col']}" if first_fault.get("line") else ""
        reason = f"{first_fault.get('description') or 'unknown reason'}{where}"
    except SqlglotError as fault:
        reason = str(fault)
    except RecursionError:
        reason = _TOO_DEEP
    except (LookupError, TypeError, ValueError, AttributeError) as fault:  # the parser's own, of odd text
        reason = f"the parser fails on it ({type(fault).__name__})"
    if reason is not None:
        raise error(f"{what} does not parse as Spark SQL: {reason.rstrip('.')}.{unparsed_hint}")
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        statement_types = ", ".join(statement.key.upper() for statement in statements)
        raise error(f"{what} must be a single SELECT; found {statement_types}.")
    if isinstance(statements[0], exp.Select) and not statements[0].expressions:
        raise error(f"{what} selects no columns.")
    return statements[0]


def _refuse_deep_types(tokens: list[Token]) -> None:
    """Refuse text in which brackets after the names of types lie deep in one another, such as ``array[array[…]]``.

    For each of them sqlglot parses all that is inside twice and more: 30 of them would take days.

    Raises:
        RecursionError: there are too many.
    """
    types = sqlglot.Dialect.get_or_raise("spark").parser_class.TYPE_TOKENS
    opened: list[bool] = []
    for before, token in pairwise(tokens):
        if token.token_type in (TokenType.L_PAREN, TokenType.L_BRACKET):
            opened.append(before.token_type in types)
            if sum(opened) > _MAX_TYPES_IN_TYPES or len(opened) > _MAX_BRACKETS:
                raise RecursionError
        elif token.token_type in (TokenType.R_PAREN, TokenType.R_BRACKET) and opened:
            opened.pop()


def table_parts(name: str, *, what: str, error: type[HybridError]) -> list[str]:
    """The parts of a table's full name, without quotes: catalog, schemas and table.

    Raises:
        HybridError: of the given class; it is no name.
    """
    try:
        tokens = sqlglot.tokenize(name, dialect="spark")
    except SqlglotError:
        tokens = []
    parts = tokens[::2]
    dots = all(token.token_type == TokenType.DOT for token in tokens[1::2])
    if len(tokens) % 2 == 0 or not dots or any(not part.text or "${" in part.text for part in parts):
        raise error(f"{what} must be a table's full name, such as sales.orders; found {name!r}.")
    return [part.text for part in parts]


def tables_read(query: Query) -> set[str]:
    """The names without a catalog or schema that a query reads, in lower case; none of its own CTEs.

    A common table expression is seen in what follows it, and in its own text only where it is recursive: in
    ``WITH t AS (SELECT * FROM t) SELECT * FROM t`` the first ``t`` is read.
    """
    return {table.name.lower() for table in query.find_all(Table) if not table.db and not _is_cte(table)}


def columns_read(query: Query) -> set[str] | None:
    """Names that a query may read columns by, as it writes them; None where it reads columns that it does not name.

    So does a star, a natural join, and a pivot, which groups by all other columns.
    """
    if query.find(exp.Pivot) or any(join.method == "NATURAL" for join in query.find_all(exp.Join)):
        return None
    if any(not isinstance(star.parent, exp.Count) for star in query.find_all(exp.Star)):
        return None
    return {identifier.name for identifier in query.find_all(exp.Identifier)}


def _is_cte(table: Table) -> bool:
    child: Expr = table
    while (parent := child.parent) is not None:
        if isinstance(parent, With):
            before = next(n for n, cte in enumerate(parent.expressions) if cte is child)
            visible = parent.expressions[: before + bool(parent.recursive)]
        else:
            clauses = [clause for clause in parent.args.values() if isinstance(clause, With) and clause is not child]
            visible = [cte for clause in clauses for cte in clause.expressions]
        if any(cte.alias.lower() == table.name.lower() for cte in visible):
            return True
        child = parent
    return False
