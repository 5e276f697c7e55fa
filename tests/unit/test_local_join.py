"""The join of this process, whose threads share what the entity rows are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from feast_hybrid.asof.columnar import entity_keys
from feast_hybrid.asof.columnar.entity_keys import EntityKeys


def test_a_table_of_codes_that_another_thread_is_making_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = pa.array([3, 1, 2])
    known = EntityKeys([keys], pa.array([0, 0, 0]))
    seen: list[Any] = []
    arange = np.arange

    def meanwhile(count: int) -> Any:
        monkeypatch.setattr(entity_keys.np, "arange", arange)
        seen.append(known.encode([keys], 3).tolist())
        return arange(count)

    monkeypatch.setattr(entity_keys.np, "arange", meanwhile)
    assert known.encode([keys], 3).tolist() == [2, 0, 1]
    assert seen == [[2, 0, 1]]
