"""Log lines with their run and shard: readable, or JSON where PIXELMILL_LOG_FORMAT says so."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_run: ContextVar[str | None] = ContextVar("run", default=None)
_shard: ContextVar[int | None] = ContextVar("shard", default=None)


@contextmanager
def working_on(run: str, shard: int) -> Iterator[None]:
    """Say to which shard the log lines inside, and of threads given its context, belong."""
    before = _run.set(run), _shard.set(shard)
    try:
        yield
    finally:
        _run.reset(before[0])
        _shard.reset(before[1])


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and run and shard where known."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        from tasks.storage import redact

        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if _run.get() is not None:
            line |= {"run": _run.get(), "shard": _shard.get()}
        if record.exc_info:
            line["error"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr() -> None:
    """Send log lines of PIXELMILL_LOG's level, by default WARNING, to stderr.

    Raises:
        ValueError: PIXELMILL_LOG_FORMAT is neither text nor json.
    """
    wanted = os.environ.get("PIXELMILL_LOG_FORMAT", "text")
    if wanted not in ("text", "json"):
        raise ValueError(f"PIXELMILL_LOG_FORMAT must be text or json, got {wanted!r}")
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if wanted == "json" else text)
    logging.basicConfig(level=os.environ.get("PIXELMILL_LOG", "WARNING"), handlers=[handler])
