"""One round of Feast's verbs in a Python that has no PySpark: a repository for it, and what it must find.

``features.py`` is of the repository, and ``program.py`` runs in it; neither needs this package or pytest.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORMATS = ("parquet", "delta", "iceberg", "orc")

_STORE = {
    "project": "p",
    "provider": "local",
    "registry": "registry.db",
    "entity_key_serialization_version": 3,
    "online_store": {"type": "sqlite", "path": "online.db"},
}


def make_repository(folder: Path, places: Sequence[str], sites: Sequence[Mapping[str, Any]] = ()) -> None:
    """Make a Feast repository.

    Args:
        folder: an existing one.
        places: URIs of folders, which need not exist; tables of each format are put into each of them.
        sites: those of the places that are on a lake, as ``feature_store.yaml`` has them.
    """
    store = {
        "type": "feast_hybrid.HybridSparkOfflineStore",
        "sites": list(sites),
        "staging_location": f"{places[0]}/staging",
    }
    # JSON is YAML.
    (folder / "feature_store.yaml").write_text(json.dumps({**_STORE, "offline_store": store}))
    (folder / "places.json").write_text(json.dumps(list(places)))
    for name in ("features.py", "program.py"):
        shutil.copy(Path(__file__).with_name(name), folder)
    (folder / ".feastignore").write_text("program.py\n")


def check(printed: str, places: int) -> None:
    """Assert that the program's last line says what it must."""
    found = json.loads(printed.splitlines()[-1])
    names = [f"by_{each}_{place}" for place in range(places) for each in FORMATS]
    install = "PySpark is not installed: pip install 'feast-hybrid[spark]'"
    refused = found.pop("a query").replace("site 'onprem', ", "")
    assert refused.startswith(f"source 'elsewhere' (a query) needs Spark, and {install}")
    assert install in found.pop("a batch of Avro")
    assert install in found.pop("a Spark frame")
    history = "historical features of by_parquet_0 (entity_df is SQL text)"
    assert found.pop("SQL text").startswith(f"{history} needs Spark, and {install}")
    columns = [["account", "bigint"], ["balance", "double"], ["seen", "timestamp"]]
    assert found == {
        "columns": dict.fromkeys(names, columns),
        "rows": {name: 2 for name in names if "orc" not in name},
        "history": [{f"{name}__balance": 0.5 for name in names}],
        "by dates": [0.5, 1.5],
        "saved": [1] * places,
        "exported": 1,
        "online": {f"{name}__balance": [1.5] for name in names},
        "logs": [1] * places,
        "loaded": [],
    }
