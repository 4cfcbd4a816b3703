"""Looks at a run from beside it: what is visible under an output's name must be whole."""

import threading
from typing import Self

import botocore.session

from models.images import ImageError, decode
from tests.s3_server import S3Server


class Watcher:
    """Reads every output in a bucket as soon as it appears, by a client of its own."""

    def __init__(self, server: S3Server, prefix: str) -> None:
        self.looks = 0
        self.half: list[str] = []
        self._prefix = prefix
        self._bucket = server.bucket
        self._seen: dict[str, str] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self._client = botocore.session.Session().create_client(
            "s3",
            endpoint_url=server.endpoint,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            region_name="us-east-1",
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()
        self._client.close()

    @property
    def outputs(self) -> int:
        """How many have appeared so far."""
        return len(self._seen)

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self._look()

    def _look(self) -> None:
        pages = self._client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
            for found in page.get("Contents", []):
                if self._seen.get(found["Key"]) == found["ETag"]:
                    continue
                self._seen[found["Key"]] = found["ETag"]
                self.looks += 1
                reply = self._client.get_object(Bucket=self._bucket, Key=found["Key"])
                try:
                    decode(reply["Body"].read())
                except ImageError:
                    self.half.append(found["Key"])
