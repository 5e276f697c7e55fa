"""What Azure's client logs of each request is no part of a log of level INFO, which Feast's commands ask for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from feast_hybrid.lakes.filesystems import SiteBlobFileSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUESTS = "azure.core.pipeline.policies.http_logging_policy"


@pytest.fixture(autouse=True)
def _levels_as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in (None, "azure", REQUESTS)]
    levels = [logger.level for logger in loggers]
    for logger in loggers[1:]:
        logger.setLevel(logging.NOTSET)
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.mark.parametrize(
    ("of_all", "of_azure", "are_logged"),
    [
        (logging.INFO, logging.NOTSET, False),
        (logging.DEBUG, logging.NOTSET, True),
        (logging.INFO, logging.INFO, True),
        (logging.WARNING, logging.NOTSET, False),
    ],
    ids=["as Feast has it", "debugging", "asked for", "as Python has it"],
)
def test_requests_are_logged_to_who_asks_for_them(of_all: int, of_azure: int, are_logged: bool) -> None:
    logging.getLogger().setLevel(of_all)
    logging.getLogger("azure").setLevel(of_azure)
    SiteBlobFileSystem(
        account_name="acct", account_key="a2V5", account_host="acct.blob.core.windows.net", skip_instance_cache=True
    )
    assert logging.getLogger(REQUESTS).isEnabledFor(logging.INFO) is are_logged
