"""S3 calls on a file system that tasks.storage made: exact keys, one layer of retries."""

import asyncio
import mimetypes
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from typing import Any
from xml.etree import ElementTree

import aiohttp
from botocore.exceptions import (  # type: ignore[import-untyped]
    HTTPClientError,
    IncompleteReadError,
)

from tasks.storage_errors import AlreadyExistsError, InvalidUriError, reply_code
from tasks.storage_uris import Entry, bucket_and_key

CONFIG = {  # botocore.config.Config; what FSSPEC_S3 says in config_kwargs wins
    "max_pool_connections": 64,  # read-ahead and writers of a shard call from many threads
    "connect_timeout": 5,  # s
    "read_timeout": 30,  # s without a byte
}
_MULTIPART_FROM = 100 * 2**20  # bytes; smaller objects are one PUT
_BODY_ATTEMPTS = 3
_CONFLICT_ATTEMPTS = 5
_TAKEN_CODES = ("PreconditionFailed", "412")


class S3Store:
    """Objects of one endpoint, over an S3FileSystem that nobody else uses. Thread-safe."""

    def __init__(self, fs: Any) -> None:
        """Connects; leaves retries to botocore alone (AWS_MAX_ATTEMPTS); speeds listings up."""
        fs.retries = 1  # s3fs's own, which would multiply botocore's
        fs.connect()
        fs.s3.meta.events.register("before-parse.s3.ListObjectsV2", _parse_listing)
        self._fs = fs

    def pages(self, uri: str, page_size: int) -> Iterator[list[Entry]]:
        """Every object below the prefix; the next page is fetched while one is used."""
        bucket, key = bucket_and_key(uri)
        prefix = key.rstrip("/") + "/" if key else ""
        query = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": min(page_size, 1000)}
        coming = self._start(self._fs._call_s3("list_objects_v2", **query))
        try:
            while True:
                page = coming.result()
                token = page.get("NextContinuationToken") if page.get("IsTruncated") else None
                if token:
                    query["ContinuationToken"] = token
                    coming = self._start(self._fs._call_s3("list_objects_v2", **query))
                yield _entries(bucket, page.get("Contents", []))
                if not token:
                    return
        finally:
            coming.cancel()  # the caller stopped early: nobody wants the next page

    def stat(self, uri: str) -> Entry:
        """One HEAD request."""
        bucket, key = _named(uri)
        head = self._fs.call_s3("head_object", Bucket=bucket, Key=key)
        return Entry(uri=uri, size=head["ContentLength"], etag=_bare(head.get("ETag", "")))

    def read(self, uri: str) -> bytes:
        """The whole object; a body that breaks off is asked for again."""
        bucket, key = _named(uri)
        data: bytes = self._start(_whole(self._fs, bucket, key)).result()
        return data

    def write(self, uri: str, data: bytes | memoryview, *, exclusive: bool) -> Entry:
        """One PUT, or a multipart upload from 100 MiB on: visible whole or not at all.

        Raises:
            AlreadyExistsError: exclusive, and the key holds something else. Equal content
                counts as written by us: the reply to a first attempt may have been lost.
        """
        body = bytes(data)  # botocore takes no memoryview
        attempt = 0
        while True:
            try:
                return self._put(uri, body, exclusive=exclusive)
            except OSError as error:
                code, _ = reply_code(error)
                if exclusive and (isinstance(error, FileExistsError) or code in _TAKEN_CODES):
                    if self.read(uri) == body:
                        return self.stat(uri)
                    message = f"{uri} exists already, and was to be created"
                    raise AlreadyExistsError(uri, message) from error
                attempt += 1
                if code != "ConditionalRequestConflict" or attempt == _CONFLICT_ATTEMPTS:
                    raise
            time.sleep(0.1 * 2**attempt)  # another create is in flight: AWS says ask again later

    def _put(self, uri: str, body: bytes, *, exclusive: bool) -> Entry:
        bucket, key = _named(uri)
        options = {"ContentType": mimetypes.guess_type(key)[0] or "application/octet-stream"}
        # s3fs's multipart upload takes a URI, and it must read the same key out of it.
        if len(body) >= _MULTIPART_FROM and tuple(self._fs.split_path(uri)[:2]) == (bucket, key):
            mode = "create" if exclusive else "overwrite"
            self._fs.pipe_file(uri, body, mode=mode, **options)
            return self.stat(uri)
        if exclusive:
            options["IfNoneMatch"] = "*"
        reply = self._fs.call_s3("put_object", Bucket=bucket, Key=key, Body=body, **options)
        return Entry(uri=uri, size=len(body), etag=_bare(reply["ETag"]))

    def delete(self, uri: str) -> None:
        """One DELETE; S3 says nothing about whether the object was there."""
        bucket, key = _named(uri)
        self._fs.call_s3("delete_object", Bucket=bucket, Key=key)

    def _start(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Runs on fsspec's own thread, as every s3fs call does."""
        return asyncio.run_coroutine_threadsafe(work, self._fs.loop)


def _parse_listing(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_event: object
) -> None:
    """Takes the objects out of a listing before botocore parses it, at a tenth of its CPU.

    botocore spends 60 to 100 ms on 1,000 keys, most of it on dates that nobody asks for. It
    still parses the rest of the reply, and all of it if this finds something unexpected.
    """
    if response_dict["status_code"] != 200:
        return
    try:
        root = ElementTree.fromstring(response_dict["body"])  # noqa: S314 - as botocore does
    except ElementTree.ParseError:
        return  # botocore says what is wrong with it
    if not root.tag.endswith("ListBucketResult"):
        return
    space = root.tag.removesuffix("ListBucketResult")
    contents, key, size, etag = (f"{space}{tag}" for tag in ("Contents", "Key", "Size", "ETag"))
    rest = ElementTree.Element(root.tag)
    rest.extend([node for node in root if node.tag != contents])
    customized_response_dict["Contents"] = [
        {
            "Key": node.findtext(key, ""),
            "Size": int(node.findtext(size, "0")),
            "ETag": node.findtext(etag, ""),
        }
        for node in root.iterfind(contents)
    ]
    response_dict["body"] = ElementTree.tostring(rest)


def _named(uri: str) -> tuple[str, str]:
    bucket, key = bucket_and_key(uri)
    if not key:
        raise InvalidUriError(uri, f"{uri} names a bucket, want an object: s3://BUCKET/KEY")
    return bucket, key


def _entries(bucket: str, contents: list[dict[str, Any]]) -> list[Entry]:
    return [
        Entry(uri=f"s3://{bucket}/{found['Key']}", size=found["Size"], etag=_bare(found["ETag"]))
        for found in contents
        if found["Size"] or not found["Key"].endswith("/")  # an empty "a/" stands for a folder
    ]


def _bare(etag: str) -> str:
    return etag.strip('"')


async def _whole(fs: Any, bucket: str, key: str) -> bytes:
    attempt = 0
    while True:
        attempt += 1
        reply = await fs._call_s3("get_object", Bucket=bucket, Key=key)
        body = reply["Body"]
        try:
            data: bytes = await body.read()
        except (aiohttp.ClientError, HTTPClientError, IncompleteReadError, TimeoutError):
            # botocore retries requests, but it has handed the body over: that is up to us.
            if attempt == _BODY_ATTEMPTS:
                raise
            continue
        finally:
            body.close()
        want = reply.get("ContentLength", len(data))
        if len(data) == want:
            return data
        if attempt == _BODY_ATTEMPTS:
            raise ConnectionError(f"got {len(data)} of {want} bytes, {attempt} times")
