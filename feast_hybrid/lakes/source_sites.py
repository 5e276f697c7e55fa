"""Rules of the configuration that say on which site a source is, by its name."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic_core import PydanticCustomError


class SourceRule(BaseModel):
    """One entry of ``offline_store.sources``.

    Attributes:
        match: a pattern of sources' names, as shells have it: ``*``, ``?``, ``[abc]``. Case counts.
        site: the name of one of ``offline_store.sites``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    match: str
    site: str

    @field_validator("match")
    @classmethod
    def _of_something(cls, value: str) -> str:
        if not value.strip():
            raise PydanticCustomError("match", "is empty: write a pattern of names, such as bank_*")
        return value


def first_match(rules: Sequence[SourceRule], name: str) -> tuple[int, SourceRule] | None:
    """The first rule whose pattern a source's name has, and its position; None where none has."""
    return next(((at, rule) for at, rule in enumerate(rules) if fnmatch.fnmatchcase(name, rule.match)), None)


def described(position: int, rule: SourceRule) -> str:
    """How an error names a rule."""
    return f"offline_store.sources[{position}] (match: {rule.match!r})"
