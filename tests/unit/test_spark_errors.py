"""What is kept of the text of Spark's errors."""

from __future__ import annotations

from feast_hybrid.spark_errors import first_line


def test_of_a_long_error_the_line_is_kept_that_says_what_is_wrong() -> None:
    said = "An error occurred while calling o1.create.\n: ignored"
    assert first_line(said) == ": ignored"
    parsing = "ParseException: \n[PARSE_EMPTY_STATEMENT] Syntax error, unexpected empty statement.\n\n== SQL ==\n^^^"
    assert first_line(parsing) == "[PARSE_EMPTY_STATEMENT] Syntax error, unexpected empty statement."
    assert first_line("ValueError: no such day\nat line 3") == "ValueError: no such day"
    assert first_line("ValueError:") == "ValueError:"


def test_signatures_and_keys_are_struck_out() -> None:
    assert first_line("GET https://x/?sv=1&sig=abc%3D failed: AccountKey=def;x") == (
        "GET https://x/?sv=1&sig=… failed: AccountKey=…;x"
    )
