"""An S3 bucket of up to a million objects that only lists: to plan over, without storing them.

Answers ListObjectsV2 and HEAD of the bucket "big", and 404 to all else; signatures are not
checked. It runs in a process of its own, so that its CPU is not counted as the client's.
"""

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

BUCKET = "big"
LARGEST = 1_000_000  # a thousand folders of a thousand, which three digits each can name
_FOLDER = 1000
_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
_SPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_NOT_FOUND = _XML + "<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>"


def key(index: int) -> str:
    """Name of object number `index`; names sort as numbers do."""
    return f"photos/{index // _FOLDER:03d}/{index:09d}.jpg"


def size(index: int) -> int:
    """Its size in bytes."""
    return 100_000 + index % 50_000


def etag(index: int) -> str:
    """Its tag: looks like an MD5, differs for every index."""
    return f"{(index + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"


@contextmanager
def listing_server(n_objects: int, *, page_delay: float = 0.0) -> Iterator[dict[str, str]]:
    """Runs the server; gives the environment variables that send S3 clients to it.

    Args:
        n_objects: objects in the bucket, up to a million.
        page_delay: seconds before each page, as a store far away takes them.
    """
    command = [sys.executable, "-m", __name__, str(n_objects), "--page-delay", str(page_delay)]
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.startswith("http://"):
                raise RuntimeError(f"the listing server said {line!r}, want its URL")
            yield {
                "AWS_ENDPOINT_URL_S3": line.strip(),
                "AWS_ACCESS_KEY_ID": "any-access-key",
                "AWS_SECRET_ACCESS_KEY": "any-secret-key",
                "AWS_DEFAULT_REGION": "us-east-1",
            }
        finally:
            process.terminate()


def page(n_objects: int, prefix: str, start: int, max_keys: int) -> str:
    """The XML of one page that begins at object `start`."""
    first, last = _range(n_objects, prefix)
    begin = max(first, start)
    end = min(last, begin + max_keys)
    rows = [
        f"<Contents><Key>{key(index)}</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified>"
        f"<ETag>&#34;{etag(index)}&#34;</ETag><Size>{size(index)}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
        for index in range(begin, end)
    ]
    more = end < last
    token = f"<NextContinuationToken>{end}</NextContinuationToken>" if more else ""
    return (
        f"{_XML}<ListBucketResult {_SPACE}><Name>{BUCKET}</Name><Prefix>{quote(prefix)}</Prefix>"
        f"<MaxKeys>{max_keys}</MaxKeys><KeyCount>{len(rows)}</KeyCount>"
        f"<EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>{token}"
        f"{''.join(rows)}</ListBucketResult>"
    )


def _range(n_objects: int, prefix: str) -> tuple[int, int]:
    """First index and the one after the last below a prefix that is whole folders."""
    if "photos/".startswith(prefix):
        return 0, n_objects
    folder = re.fullmatch(r"photos/(\d{3})/", prefix)
    first = int(folder[1]) * _FOLDER if folder else n_objects
    return min(first, n_objects), min(first + _FOLDER, n_objects)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open, as real stores do
    wbufsize = -1  # headers and page in one packet, not two that wait for each other
    n_objects = 0
    page_delay = 0.0

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path.strip("/") != BUCKET:
            self._answer(404, _NOT_FOUND)
            return
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        time.sleep(self.page_delay)
        start = int(query.get("continuation-token", "0"))
        prefix, max_keys = query.get("prefix", ""), int(query.get("max-keys", "1000"))
        self._answer(200, page(self.n_objects, prefix, start, max_keys))

    def do_HEAD(self) -> None:
        found = urlsplit(self.path).path.strip("/") == BUCKET
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_PUT(self) -> None:
        self.close_connection = True  # the body is still in it
        self._answer(404, _NOT_FOUND)

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Says nothing: a line a request would cost more than the page."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no event; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionResetError | BrokenPipeError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def main() -> None:
    """Serves on a free port, which it prints, until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n_objects", type=int)
    parser.add_argument("--page-delay", type=float, default=0.0)
    wanted = parser.parse_args()
    if not 0 <= wanted.n_objects <= LARGEST:
        parser.error(f"want 0 to {LARGEST} objects, got {wanted.n_objects}")
    _Handler.n_objects, _Handler.page_delay = wanted.n_objects, wanted.page_delay
    with _Server(("127.0.0.1", 0), _Handler) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
