"""A chat system for tests: a server on this machine that keeps what is posted to it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


class WebHook(HTTPServer):
    """Takes {"text": ...} and answers with `status`."""

    status = 200

    def __init__(self) -> None:
        self.posts: list[Any] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/private-path"

    def told(self) -> list[str]:
        """The messages since the last time."""
        posts, self.posts = self.posts, []
        return [post["text"] for post in posts]


class _Handler(BaseHTTPRequestHandler):
    server: WebHook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append(json.loads(body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@contextmanager
def web_hook() -> Iterator[WebHook]:
    """A server that listens while the body runs."""
    with WebHook() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
