"""What an S3 request that fails in passing costs: another try after a pause, and a word in the log.

botocore tries requests again (AWS_MAX_ATTEMPTS), with exponential backoff and full jitter. A reply
that breaks off half way it hands over as an error: those are asked for again here.
"""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp
from botocore.exceptions import (  # type: ignore[import-untyped]
    FlexibleChecksumError,
    IncompleteReadError,
)
from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]

log = logging.getLogger(__name__)
T = TypeVar("T")

_SAY_EVERY_S = 10.0
_REPLY_ATTEMPTS = 4
_PASSING = (408, 429)  # and all from 500 on


class BrokenReplyError(ConnectionError):
    """A reply broke off, or is not what was stored."""


# Not botocore's own connection errors: those it has tried again already.
_BROKEN = (
    BrokenReplyError,
    aiohttp.ClientError,
    IncompleteReadError,
    FlexibleChecksumError,
    ResponseParserError,
    TimeoutError,
)


class Trouble:
    """Counts requests and those that failed in passing; the log has a line at most every 10 s."""

    def __init__(self) -> None:
        self._asked = 0
        self._failed: Counter[str] = Counter()
        self._said_at = -_SAY_EVERY_S

    def after_attempt(
        self, response: Any = None, caught_exception: Exception | None = None, **_event: object
    ) -> None:
        """botocore's event needs-retry, which comes after every attempt; decides nothing."""
        self._asked += 1
        if caught_exception is not None:
            self.count(type(caught_exception).__name__)
            return
        status = response[0].status_code if response else 200
        if status >= 500 or status in _PASSING:
            code = response[1].get("Error", {}).get("Code", "")
            self.count(f"{status} {code}".strip() if code != str(status) else code)

    def count(self, kind: str) -> None:
        """One failure, of a kind; says so if it is time."""
        self._failed[kind] += 1
        now = time.monotonic()
        if now - self._said_at >= _SAY_EVERY_S:
            kinds = ", ".join(f"{n} {kind}" for kind, n in self._failed.most_common())
            log.warning(
                "S3 slows us down: %d of the last %d requests failed (%s), "
                "trying again after growing, random pauses",
                self._failed.total(),
                max(self._asked, self._failed.total()),
                kinds,
            )
            self._asked, self._said_at = 0, now
            self._failed.clear()


async def unbroken(ask: Callable[[], Awaitable[T]], trouble: Trouble) -> T:
    """What a request gives, asked for again when its reply breaks off.

    Raises:
        Exception: the last one, after four replies that broke off; any other at once.
    """
    attempt = 0
    while True:
        attempt += 1
        try:
            return await ask()
        except _BROKEN as error:
            trouble.count(type(error).__name__)
            if attempt == _REPLY_ATTEMPTS:
                raise
        await asyncio.sleep(random.uniform(0, 0.5 * 2**attempt))  # noqa: S311 - jitter
