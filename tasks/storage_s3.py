"""S3 calls on a file system that tasks.storage made: exact keys, one layer of retries."""

import asyncio
import hashlib
import logging
import mimetypes
import random
import re
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any
from xml.etree import ElementTree

from botocore.exceptions import HTTPClientError  # type: ignore[import-untyped]

from tasks.storage_errors import (
    AlreadyExistsError,
    InvalidUriError,
    StorageUnavailableError,
    redact,
    reply_code,
    translate,
)
from tasks.storage_retries import BrokenReplyError, Trouble, unbroken
from tasks.storage_uris import Entry, bucket_and_key

log = logging.getLogger(__name__)

CONFIG = {  # botocore.config.Config; what FSSPEC_S3 says in config_kwargs wins
    "max_pool_connections": 64,  # read-ahead and writers of a shard call from many threads
    "connect_timeout": 5,  # s
    "read_timeout": 30,  # s without a byte
}
_MULTIPART_FROM = 100 * 2**20  # bytes; smaller objects are one PUT
_CONFLICT_ATTEMPTS = 5
_PAGE_PATIENCE_S = 180.0
_LONGEST_PAUSE_S = 20.0
_TAKEN_CODES = ("PreconditionFailed", "412")
_MD5 = re.compile(r"[0-9a-f]{32}")
_KEYED = ("aws:kms", "aws:kms:dsse")  # with these, an ETag that looks like an MD5 is none


class S3Store:
    """Objects of one endpoint, over an S3FileSystem that nobody else uses. Thread-safe."""

    def __init__(self, fs: Any) -> None:
        """Connects; leaves retries to botocore alone (AWS_MAX_ATTEMPTS); speeds listings up."""
        fs.retries = 1  # s3fs's own, which would multiply botocore's
        fs.connect()
        self._fs = fs
        self._trouble = Trouble()
        self._tags_are_md5 = True  # until a store has shown that its are not
        fs.s3.meta.events.register("before-parse.s3.ListObjectsV2", _parse_listing)
        fs.s3.meta.events.register("needs-retry.s3", self._trouble.after_attempt)

    def pages(self, uri: str, page_size: int) -> Iterator[list[Entry]]:
        """Every object below the prefix; the next page is fetched while one is used.

        A listing that has begun waits for a store that goes away: it could not be begun anew
        without giving objects twice.
        """
        bucket, key = bucket_and_key(uri)
        prefix = key.rstrip("/") + "/" if key else ""
        query = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": min(page_size, 1000)}
        coming = self._begin("list_objects_v2", **query)
        try:
            while True:
                page = self._page(coming, uri, query)
                token = page.get("NextContinuationToken") if page.get("IsTruncated") else None
                if token:
                    query["ContinuationToken"] = token
                    coming = self._begin("list_objects_v2", **query)
                yield _entries(bucket, page.get("Contents", []))
                if not token:
                    return
        finally:
            coming.cancel()  # the caller stopped early: nobody wants the next page

    def _page(self, coming: Future[Any], uri: str, query: dict[str, Any]) -> dict[str, Any]:
        """The page on its way; any but the first one is asked for again for minutes."""
        began, longest = time.monotonic(), 1.0
        while True:
            try:
                page: dict[str, Any] = coming.result()
            except Exception as error:
                passing = isinstance(translate(uri, "s3", error), StorageUnavailableError)
                waited = time.monotonic() - began
                if not passing or "ContinuationToken" not in query or waited > _PAGE_PATIENCE_S:
                    raise
                log.warning(
                    "listing %s stands still since %.0f s: %s", uri, waited, redact(str(error))
                )
            else:
                return page
            time.sleep(random.uniform(0, longest))  # noqa: S311 - jitter, not a secret
            longest = min(2 * longest, _LONGEST_PAUSE_S)
            coming = self._begin("list_objects_v2", **query)

    def stat(self, uri: str) -> Entry:
        """One HEAD request."""
        bucket, key = _named(uri)
        head = self._begin("head_object", Bucket=bucket, Key=key).result()
        return Entry(uri=uri, size=head["ContentLength"], etag=_bare(head.get("ETag", "")))

    def read(self, uri: str) -> bytes:
        """The whole object; a reply that breaks off, or belies its ETag, is asked for again."""
        bucket, key = _named(uri)
        ask = partial(self._whole, bucket, key, set())
        data: bytes = self._start(unbroken(ask, self._trouble)).result()
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
        reply = self._begin("put_object", Bucket=bucket, Key=key, Body=body, **options).result()
        return Entry(uri=uri, size=len(body), etag=_bare(reply["ETag"]))

    def delete(self, uri: str) -> None:
        """One DELETE; S3 says nothing about whether the object was there."""
        bucket, key = _named(uri)
        self._begin("delete_object", Bucket=bucket, Key=key).result()

    async def _whole(self, bucket: str, key: str, met: set[str]) -> bytes:
        """One GET and its body, checked; `met` is what earlier attempts got against the ETag."""
        reply = await self._fs._call_s3("get_object", Bucket=bucket, Key=key)
        body = reply["Body"]
        try:
            data: bytes = await body.read()
        except HTTPClientError as error:
            raise BrokenReplyError(str(error)) from error
        finally:
            body.close()
        want = reply.get("ContentLength", len(data))
        if len(data) != want:
            raise BrokenReplyError(f"got {len(data)} of {want} bytes")
        tag = _bare(reply.get("ETag", ""))
        if self._tags_are_md5 and _MD5.fullmatch(tag) and not _is_keyed(reply):
            digest = await asyncio.to_thread(_md5, data)
            if digest != tag and digest not in met:
                met.add(digest)
                raise BrokenReplyError(f"got {len(data)} bytes with the MD5 {digest}, want {tag}")
            self._tags_are_md5 = digest == tag  # the same twice: then its tags are no MD5
        return data

    def _begin(self, method: str, **query: Any) -> Future[Any]:
        """One request on its way; a reply that breaks off is asked for again."""
        ask = partial(self._fs._call_s3, method, **query)
        return self._start(unbroken(ask, self._trouble))

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


def _is_keyed(reply: dict[str, Any]) -> bool:
    """Whether an object is encrypted with a key of its own."""
    return reply.get("ServerSideEncryption") in _KEYED or "SSECustomerAlgorithm" in reply


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
