"""Running the local engine: in time, within its memory, watched by whoever looks, and with errors of ours."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from feast_hybrid.arrow.faults import file_read
from feast_hybrid.asof.join_plan import described_size
from feast_hybrid.asof.local.reading import largest_part
from feast_hybrid.asof.local.work import DeadlineError, MemoryLimitError, Watch
from feast_hybrid.asof.scan import Ineligible
from feast_hybrid.errors import HybridError, RetrievalError, RetrievalTimeoutError
from feast_hybrid.lakes.errors import raise_from, redacted_summary, storage_error
from feast_hybrid.spark.progress import is_watched
from feast_hybrid.spark.sparks_reader import setting_of_process, wants_sparks_reader

if TYPE_CHECKING:
    from feast_hybrid.asof.local.reading import Reading
    from feast_hybrid.config import HybridSparkOfflineStoreConfig, LocalConfig
    from feast_hybrid.lakes import Site

T = TypeVar("T")

#: Seconds after which a bar is drawn.
_BAR_DELAY = 1.0


@dataclass(frozen=True, eq=False)
class LocalRun:
    """How the local engine runs.

    Attributes:
        config: its threads and memory.
        what: how errors and the bar name what runs.
        sites: those that are read, which an error may be of.
    """

    config: LocalConfig
    what: str
    sites: Sequence[Site] = ()

    def run(self, action: Callable[[Watch, float | None], T], *, timeout: float | None, size: float) -> T:
        """Run an action that reads so many bytes.

        Args:
            action: gets what can give it up, and its deadline by :func:`time.monotonic`.
            timeout: seconds; None for no limit.
            size: bytes of needed columns that it reads, about.

        Raises:
            RetrievalTimeoutError: the time ran out.
            RetrievalError: the action failed.
            HybridError: what it raised of ours.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            with _bar(self.what, size) as advanced:
                return action(Watch(advanced), deadline)
        except DeadlineError:
            raise RetrievalTimeoutError(f"{self.what} did not end within {timeout:g} s and was cancelled.") from None
        except HybridError:
            raise
        except MemoryLimitError as error:
            raise RetrievalError(
                f"{self.what}: the rows that are kept take {described_size(error.size)} or more, and they may take "
                f"{described_size(error.limit)} of offline_store.local.memory, which is "
                f"{described_size(self.config.memory_bytes)}. Give it more, ask for fewer rows or columns, or set "
                "offline_store.engine to 'spark'."
            ) from None
        except MemoryError as error:
            raise RetrievalError(
                f"{self.what}: there is not enough memory for the local engine. Give offline_store.local.memory a "
                "smaller value, or set offline_store.engine to 'spark'."
            ) from error
        except Exception as error:
            file = file_read(error)
            what = self.what if file is None else f"{self.what}: {file}"
            refused = storage_error(error, what=what, where="the lake", sites=self.sites)
            raise_from(refused or RetrievalError(f"{what} failed: {redacted_summary(error)}"), error)


@contextmanager
def _bar(what: str, size: float) -> Iterator[Callable[[float], None] | None]:
    """A bar of bytes, where somebody looks and it takes long enough to be seen."""
    if not is_watched():
        yield None
        return
    from tqdm.auto import tqdm  # warns in a notebook without widgets

    bar: Any = tqdm(
        desc=what,
        total=size,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        leave=False,
        delay=_BAR_DELAY,
        file=sys.stderr,
    )
    try:
        yield bar.update
    finally:
        bar.close()


def sparks_by_settings(store: HybridSparkOfflineStoreConfig) -> Ineligible | None:
    """What in the settings that Spark has, or would have, wants its own reader."""
    conf = store.spark.conf

    def setting(name: str) -> str | None:
        return conf[name] if name in conf else setting_of_process(name)

    if str(setting("spark.sql.caseSensitive")).lower() == "true":
        return Ineligible("spark.sql.caseSensitive is true, by which columns of a result may differ by case alone")
    reason = wants_sparks_reader(setting)
    return None if reason is None else Ineligible(reason)


def described_engine(local: LocalConfig, threads: int) -> str:
    """The local engine in words, for plans."""
    return f"local ({threads} threads, up to {described_size(local.memory_bytes)} of memory)"


def reads_too_much(store: HybridSparkOfflineStoreConfig, size: int) -> Ineligible | None:
    """Why so many bytes of files are Spark's to read, where the engine is chosen here."""
    limit = int(store.local.max_read)
    if store.engine != "auto" or size <= limit:
        return None
    return Ineligible(
        f"about {described_size(size)} are to be read, and offline_store.local.max_read is {described_size(limit)}"
    )


def stripes_too_large(store: HybridSparkOfflineStoreConfig, reading: Reading) -> Ineligible | None:
    """Why a source of ORC is Spark's to read: its stripes are read whole."""
    part, limit = reading.estimate.part_bytes, largest_part(store.local.memory_bytes)
    if part <= limit:
        return None
    return Ineligible(
        f"its stripes have about {described_size(part)} of rows, and are read whole, of which this engine holds "
        f"{described_size(limit)} (half of offline_store.local.memory, and 768 MiB at the most)"
    )
