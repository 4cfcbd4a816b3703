"""What can go wrong in storage, in our words, and never with a secret in them."""

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote


class StorageError(Exception):
    """Storage did not do what was asked. `uri` says where; both it and the message are redacted."""

    def __init__(self, uri: str, message: str) -> None:
        self.uri = redact(uri)
        self.message = redact(message)
        super().__init__(self.uri, self.message)  # both arguments, so that it survives pickling

    def __str__(self) -> str:
        return self.message


class NotFoundError(StorageError):
    """No such bucket, folder or object."""


class AccessDeniedError(StorageError):
    """The store knows us not, or does not let us."""


class AlreadyExistsError(StorageError):
    """An exclusive write found the name taken."""


class StorageUnavailableError(StorageError):
    """The store could not be reached, timed out or failed (5xx): the same call may work later."""


class StorageFullError(StorageError):
    """The disk, or the quota on it, has no room left."""


class InvalidUriError(StorageError):
    """The URI is malformed, or nothing installed here can open it."""


_SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")
_SECRET_OPTIONS = {"key", "secret", "token", "username", "password", "passwd"}
_SECRET_OPTIONS |= {"aws_access_key_id", "aws_secret_access_key", "aws_session_token"}
_SHORTEST_ID = 4  # a shorter access key id (not a secret) would blank out half of any message

_USER_INFO = re.compile(r"(?<=://)[^/\s?#]+@")
_SIGNED = re.compile(
    r"(?i)(X-Amz-(?:Signature|Credential|Security-Token)"
    r"(?:=|%3D|[\"']?\s*[:=]\s*b?[\"']?))[^&\s\"'<>,;]+"
)
_AUTHORIZATION = re.compile(r"(?i)(authorization[\"']?\s*[:=]\s*b?[\"']?)[^\"'\r\n]+")


def redact(text: str) -> str:
    """The text with every secret in it replaced by ***: safe for messages, logs and manifests.

    Secrets are the credentials in the environment at the time of the call, the user part of
    URLs, the signature of presigned URLs and the value of an Authorization header.
    """
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, "***")
    text = _USER_INFO.sub("***@", text)
    text = _SIGNED.sub(r"\1***", text)
    return _AUTHORIZATION.sub(r"\1***", text)


def _secrets() -> set[str]:
    """The secret values in the environment now, plain and as they look inside a URL."""
    found = {os.environ.get(name, "") for name in _SECRET_VARIABLES[:2]}
    identity = os.environ.get(_SECRET_VARIABLES[2], "")
    found.add(identity if len(identity) >= _SHORTEST_ID else "")
    for name, value in os.environ.items():
        if not name.startswith("FSSPEC_"):
            continue
        if name.rpartition("_")[2].lower() in _SECRET_OPTIONS:
            found.add(value)
        elif value.lstrip().startswith("{"):
            found |= set(_secrets_in_json(value))
    found.discard("")
    return found | {quote(secret, safe="") for secret in found}


def _secrets_in_json(text: str) -> Iterator[str]:
    """Values of the secret options in a JSON object, at any depth; none if it is not JSON."""
    try:
        waiting = [json.loads(text)]
    except json.JSONDecodeError:
        return  # fsspec ignores such a variable too, so nothing in it is a credential in use
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            for name, value in node.items():
                if name in _SECRET_OPTIONS and isinstance(value, str | int):
                    yield str(value)
                else:
                    waiting.append(value)
        elif isinstance(node, list):
            waiting.extend(node)


# Third-party errors are told by name: importing botocore, aiohttp or gcsfs only to name their
# classes would cost a local run half a second, and gcsfs may not be there.
_NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}
_NO_CREDENTIALS |= {"TokenRetrievalError", "NoAuthTokenError", "ProfileNotFound"}
_UNREACHABLE = {"HTTPClientError", "ConnectionError", "TimeoutError", "ClientConnectionError"}
_UNREACHABLE |= {"ClientPayloadError", "IncompleteReadError", "ResponseParserError", "gaierror"}
_UNREACHABLE |= {"FlexibleChecksumError"}
_MALFORMED = {"ParamValidationError", "InvalidEndpointError", "UnsupportedS3ArnError"}
_MISSING_CODES = {"NoSuchKey", "NoSuchBucket", "NoSuchVersion", "NoSuchUpload", "404"}
_REFUSED_CODES = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}
_REFUSED_CODES |= {"InvalidToken", "AuthorizationHeaderMalformed", "RequestTimeTooSkewed"}
_BUSY_CODES = {"SlowDown", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict"}
_BUSY_ERRNOS = {errno.EIO, errno.EBUSY, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH}
_BUSY_ERRNOS.add(getattr(errno, "EREMOTEIO", errno.EIO))  # Linux only; s3fs's InternalError

_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}

_ALLOW = {
    "s3": "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN with temporary ones) "
    "and, for a store other than AWS, AWS_ENDPOINT_URL_S3, to credentials that may do this",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS to credentials that may do this",
    "file": "check the owner and the permissions of the file and its folder",
}


@contextmanager
def ours(uri: str, protocol: str) -> Iterator[None]:
    """Turns every error of a store inside the block into a StorageError, with it as the cause."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        raise translate(uri, protocol, error) from error


def translate(uri: str, protocol: str, error: Exception) -> StorageError:
    """The StorageError that says what `error`, raised while working on `uri`, means."""
    names = {kind.__name__ for kind in type(error).__mro__}
    code, status = reply_code(error)
    detail = _detail(error)
    if isinstance(error, IsADirectoryError):
        return NotFoundError(uri, f"{uri} is a folder, not a file")
    missing = isinstance(error, FileNotFoundError | NotADirectoryError)
    if missing or code in _MISSING_CODES or status == 404:
        what = "bucket" if code == "NoSuchBucket" else "file" if protocol == "file" else "object"
        return NotFoundError(uri, f"no such {what}: {uri}")
    refused = isinstance(error, PermissionError) or code in _REFUSED_CODES or status in (401, 403)
    if refused or names & _NO_CREDENTIALS:
        how = _ALLOW.get(protocol, "check the credentials of this store")
        return AccessDeniedError(uri, f"access to {uri} was refused ({code or detail}): {how}")
    if isinstance(error, FileExistsError) or code in ("PreconditionFailed", "412"):
        return AlreadyExistsError(uri, f"{uri} exists already, and was to be created")
    if names & _MALFORMED:
        return InvalidUriError(uri, f"{uri} is not a valid name for this store: {detail}")
    if protocol != "file" and _is_passing(error, names, code, status):
        return StorageUnavailableError(
            uri,
            f"the store of {uri} could not be reached or failed: {detail}; "
            "check the network and the endpoint (AWS_ENDPOINT_URL_S3), then try again",
        )
    if isinstance(error, OSError) and error.errno in _FULL_ERRNOS:
        return StorageFullError(uri, f"{uri} could not be written: {detail}")
    return StorageError(uri, f"{uri} failed: {detail}")


def _is_passing(error: Exception, names: set[str], code: str, status: int) -> bool:
    """Whether the same request may succeed later."""
    if code in _BUSY_CODES or status >= 500 or status in (408, 429) or names & _UNREACHABLE:
        return True
    return not code and isinstance(error, OSError) and error.errno in _BUSY_ERRNOS


def reply_code(error: BaseException) -> tuple[str, int]:
    """The store's own error code and HTTP status behind an error; '' and 0 where it gave none."""
    for candidate in (error, error.__cause__):
        response: Any = getattr(candidate, "response", None)
        if isinstance(response, dict):
            code = str(response.get("Error", {}).get("Code", ""))
            return code, int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    status = getattr(error, "status", getattr(error, "code", 0))  # aiohttp, gcsfs
    return "", status if isinstance(status, int) else 0


def _detail(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # str(error) would repeat the path
    return str(error) or type(error).__name__
