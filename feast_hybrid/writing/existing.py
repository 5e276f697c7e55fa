"""The error of a place that is taken."""

from __future__ import annotations

from feast.errors import SavedDatasetLocationAlreadyExists

from feast_hybrid.errors import WriteError


class DatasetExistsError(WriteError, SavedDatasetLocationAlreadyExists):
    """Something is where a saved dataset should go, and may not be replaced."""

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)
