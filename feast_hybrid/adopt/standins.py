"""Stand-ins for packages that Feast's other stores need and that are not installed, while definitions are read.

``PostgreSQLSource`` is a few lines of attributes, in a module that imports the client of the database. Whoever only
asks what a repository defines needs no client.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import traceback
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import feast

_FEAST = Path(feast.__file__).parent


class _Anything(type):
    """A class whose attributes are such classes."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (Exception,), {})


class _StandIn(ModuleType):
    """A module that has whatever is imported of it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (Exception,), {})


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules for names that nobody else finds; asked last.

    Attributes:
        names: of the packages that it stands in for.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()

    def learn(self, error: BaseException) -> bool:
        """Stand in for the package that a module of Feast's did not find.

        Args:
            error: of an import.

        Returns:
            Whether it was such an error, and the import can be tried again.
        """
        cause: BaseException | None = error
        while cause is not None and not (isinstance(cause, ModuleNotFoundError) and cause.name):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            return False
        assert isinstance(cause, ModuleNotFoundError)
        assert cause.name is not None
        frames = [frame.filename for frame in traceback.extract_tb(cause.__traceback__)]
        real = [name for name in frames if not name.startswith("<frozen")]
        if not real or not Path(real[-1]).is_relative_to(_FEAST) or cause.name.partition(".")[0] == "feast":
            return False
        if cause.name in self.names:
            return False
        self.names.add(cause.name)
        return True

    def find_spec(
        self, fullname: str, _path: Any = None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A spec for what it stands in for."""
        if not any(fullname == name or fullname.startswith(f"{name}.") for name in self.names):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """A module that has everything."""
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is run."""


@contextmanager
def stand_ins() -> Iterator[StandIns]:
    """Stand-ins for as long as definitions are read; what was imported with their help is forgotten afterwards."""
    finder = StandIns()
    before = set(sys.modules)
    sys.meta_path.append(finder)
    try:
        yield finder
    finally:
        sys.meta_path.remove(finder)
        if finder.names:
            for name in set(sys.modules) - before:
                module = sys.modules[name]
                is_feasts = name.partition(".")[0] == "feast"
                if is_feasts or (isinstance(module, types.ModuleType) and type(module) is _StandIn):
                    del sys.modules[name]
