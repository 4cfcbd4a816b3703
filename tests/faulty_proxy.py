"""A proxy in front of the S3 server that lets a set share of the requests go wrong, and counts.

It passes requests on byte for byte, the Host header included, so that signatures stay valid.
"""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

Fault = Literal[
    "error_500", "error_503", "reset", "lost_reply", "stall", "truncated", "short", "delay"
]
"""What can go wrong:

error_500, error_503: an answer with that status; the store never sees the request.
reset: the connection is reset before the store sees the request.
lost_reply: the store does what it was asked, and its reply is lost in a reset.
stall: no answer until the client gives up.
truncated: the connection is closed in the middle of the reply's body.
short: the body lacks its end, and Content-Length says so, too: HTTP alone can't tell.
delay: the answer comes late.
"""

EVENLY: dict[Fault, float] = {
    "error_500": 0.03, "error_503": 0.03, "reset": 0.03, "lost_reply": 0.03,
    "stall": 0.01, "truncated": 0.03, "short": 0.02, "delay": 0.02,
}  # fmt: skip
"""20 % of all requests."""

_DELAY_S = 0.5
_STALL_S = 600.0
_BUSY = "<Error><Code>{}</Code><Message>injected</Message></Error>"


@dataclass(frozen=True, kw_only=True)
class _Message:
    """The head of a request or a reply, as it came, and its body."""

    head: bytes
    body: bytes

    @property
    def first_line(self) -> list[str]:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")

    def shortened(self, size: int) -> "_Message":
        """With only the first bytes of the body, and a Content-Length that agrees."""
        old = b"content-length: %d" % len(self.body)
        lines = [
            b"Content-Length: %d" % size if line.lower() == old else line
            for line in self.head.split(b"\r\n")
        ]
        return _Message(head=b"\r\n".join(lines), body=self.body[:size])


class FaultyProxy:
    """Listens on a port of its own; `rates` may be changed at any time."""

    def __init__(self, target: str, rates: Mapping[Fault, float], seed: int) -> None:
        self.rates = dict(rates)
        self.injected: Counter[str] = Counter()
        self.requests = 0
        """Those that came while there were rates."""
        self.refused = 0
        """Connections that came while the store was away."""
        self._target = urlsplit(target)
        self._random = random.Random(seed)
        self._away = False
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self._port = int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Close every connection and the port."""
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def go_away(self) -> None:
        """Reset every connection, and each new one, until `come_back`."""
        self._away = True
        self._do(self._drop())

    def come_back(self) -> None:
        self._away = False

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _drop(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _close(self) -> None:
        self._server.close()
        await self._drop()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client, with one to the store behind it."""
        if self._away:
            self.refused += 1
            writer.transport.abort()
            return
        host, port = self._target.hostname, self._target.port
        store_reader, store_writer = await asyncio.open_connection(host, port, limit=2**20)
        self._open |= {writer, store_writer}
        try:
            while (request := await _message(reader, client=writer)) is not None:
                if not await self._exchange(request, store_reader, store_writer, writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._open -= {writer, store_writer}
            for end in (writer, store_writer):
                with suppress(ConnectionError):
                    end.close()

    async def _exchange(
        self,
        request: _Message,
        store_reader: asyncio.StreamReader,
        store_writer: asyncio.StreamWriter,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """One request and its reply; whether the connection is still good."""
        self.requests += bool(self.rates)
        fault = self._drawn()
        method = request.first_line[0]
        if fault in ("truncated", "short") and method != "GET":
            fault = "lost_reply"
        if fault is not None:
            self.injected[fault] += 1
        if fault in ("error_500", "error_503", "reset", "stall"):
            return await self._refuse(fault, method, writer)
        store_writer.write(request.head + request.body)
        await store_writer.drain()
        reply = await _message(store_reader, of=method)
        if reply is None or fault == "lost_reply":
            writer.transport.abort()
            return False
        if fault == "delay":
            await asyncio.sleep(_DELAY_S)
        if fault in ("truncated", "short") and reply.body:
            size = self._random.randrange(len(reply.body))
            cut = reply.shortened(size) if fault == "short" else reply
            writer.write(cut.head + cut.body[:size])
            await writer.drain()
            return fault == "short"
        writer.write(reply.head + reply.body)
        await writer.drain()
        return True

    def _drawn(self) -> Fault | None:
        at = self._random.random()
        for fault, rate in self.rates.items():
            if at < rate:
                return fault
            at -= rate
        return None

    async def _refuse(self, fault: Fault, method: str, writer: asyncio.StreamWriter) -> bool:
        if fault == "reset":
            writer.transport.abort()
            return False
        if fault == "stall":
            await asyncio.sleep(_STALL_S)  # the client has given up long before
            return False
        status, code = (
            ("500 Internal Server Error", "InternalError")
            if fault == "error_500"
            else ("503 Slow Down", "SlowDown")
        )
        body = b"" if method == "HEAD" else _BUSY.format(code).encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        return True


async def _message(
    reader: asyncio.StreamReader,
    *,
    of: str | None = None,
    client: asyncio.StreamWriter | None = None,
) -> _Message | None:
    """The next request of a client, or the reply to a request with the method `of`; None: the end.

    A client that asks before it sends a body is told to go on, and the store is not asked.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    lines = head.split(b"\r\n")
    if client is not None and any(line.lower().startswith(b"expect:") for line in lines):
        lines = [line for line in lines if not line.lower().startswith(b"expect:")]
        head = b"\r\n".join(lines)
        client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    fields = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in lines[1:])
    }
    message = _Message(head=head, body=b"")
    if of == "HEAD" or (of is not None and message.first_line[1] in ("204", "304")):
        return message
    if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
        return _Message(head=head, body=await _chunks(reader))
    size = int(fields.get(b"content-length", 0))
    return _Message(head=head, body=await reader.readexactly(size))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """A chunked body, as it came."""
    whole = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        whole += line + await reader.readexactly(size + 2)
        if not size:
            return whole


@contextmanager
def faulty_proxy(target: str, rates: Mapping[Fault, float], *, seed: int) -> Iterator[FaultyProxy]:
    """A proxy in front of the server at `target`, for as long as the body runs.

    Args:
        rates: of all requests, the share to which each fault happens.
        seed: of the order of faults; which request meets which depends on the client's threads.
    """
    proxy = FaultyProxy(target, rates, seed)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
