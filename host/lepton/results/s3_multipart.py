"""Multipart uploads to S3 that continue after an interruption.

obstore's own multipart upload starts again after a failure. This one asks the server for an unfinished upload of the
key and its parts, so it needs no state of its own: a part with a digest that the server has is not sent again. The last
request has the header `If-None-Match: *`. Requests are signed with AWS Signature Version 4 (AWS General Reference,
"Signature Version 4 signing process").
"""

import contextlib
import datetime
import hashlib
import hmac
import xml.etree.ElementTree as ElementTree
from urllib.parse import quote

import httpx
from obstore.exceptions import AlreadyExistsError, GenericError
from obstore.store import S3Store

PART_BYTES = 5 << 20  # S3's minimum for all parts but the last (Amazon S3 User Guide, "multipart upload limits")


class S3Multipart:
    """Multipart uploads to one bucket. Raises `obstore.exceptions` like the store itself."""

    def __init__(self, endpoint: str, bucket: str, prefix: str, region: str, access: str, secret: str,
                 token: str | None = None, timeout: float = 60.0):
        self._endpoint = endpoint.rstrip("/")
        self._region = region
        self._path = f"/{bucket}"
        self._prefix = f"{prefix.strip('/')}/" if prefix else ""
        self._access = access
        self._secret = secret
        self._token = token
        self._timeout = timeout

    @classmethod
    def of(cls, store: S3Store) -> "S3Multipart":
        """With the configuration of an obstore store."""
        config = store.config
        region = config.get("region", "us-east-1")
        return cls(config.get("endpoint") or f"https://s3.{region}.amazonaws.com", config["bucket"], store.prefix or "",
                   region, config.get("access_key_id", ""), config.get("secret_access_key", ""),
                   config.get("session_token"))

    def create(self, key: str, data: bytes) -> None:
        """Store `data` under `key`. Raises `AlreadyExistsError` if there is an object already."""
        key = self._prefix + key
        with httpx.Client(timeout=self._timeout, trust_env=False) as client:
            upload = self._open_upload(client, key) or self._begin(client, key)
            have = self._parts(client, key, upload)
            parts = []
            for number, start in enumerate(range(0, len(data), PART_BYTES), 1):
                part = data[start:start + PART_BYTES]
                tag = f'"{hashlib.md5(part, usedforsecurity=False).hexdigest()}"'
                if have.get(number) != tag:
                    tag = self._call(client, "PUT", key, {"partNumber": str(number), "uploadId": upload},
                                     part).headers["etag"]
                parts.append(f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>")
            body = f"<CompleteMultipartUpload>{''.join(parts)}</CompleteMultipartUpload>".encode()
            try:
                self._call(client, "POST", key, {"uploadId": upload}, body, {"if-none-match": "*"})
            except AlreadyExistsError:
                with contextlib.suppress(GenericError):
                    self._call(client, "DELETE", key, {"uploadId": upload})
                raise

    def make_bucket(self, client: httpx.Client) -> None:
        """Make the bucket unless it exists."""
        with contextlib.suppress(AlreadyExistsError):
            self._call(client, "PUT", "", {})

    def _open_upload(self, client: httpx.Client, key: str) -> str | None:
        answer = self._call(client, "GET", "", {"uploads": "", "prefix": key})
        for upload in _find(answer, "Upload"):
            if _text(upload, "Key").lstrip("/") == key:
                return _text(upload, "UploadId")
        return None

    def _begin(self, client: httpx.Client, key: str) -> str:
        return _text(_xml(self._call(client, "POST", key, {"uploads": ""})), "UploadId")

    def _parts(self, client: httpx.Client, key: str, upload: str) -> dict[int, str]:
        """Digests of the parts that the server has, by number. An answer lists up to 1000; a segment has at most 13."""
        answer = self._call(client, "GET", key, {"uploadId": upload})
        return {int(_text(part, "PartNumber")): '"' + _text(part, "ETag").strip('"') + '"'
                for part in _find(answer, "Part")}

    def _call(self, client: httpx.Client, method: str, key: str, query: dict[str, str], body: bytes = b"",
              headers: dict[str, str] | None = None) -> httpx.Response:
        path = quote(f"{self._path}/{key}" if key else self._path)
        text = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in sorted(query.items()))
        try:
            answer = client.request(method, f"{self._endpoint}{path}?{text}", content=body,
                                    headers=self._signed(method, path, text, body, headers or {}))
        except httpx.HTTPError as error:
            raise GenericError(f"{self._endpoint} does not answer: {error or type(error).__name__}") from error
        # CompleteMultipartUpload may answer 200 with an error in the body (Amazon S3 API Reference)
        if answer.status_code in (409, 412) or b"<Code>PreconditionFailed" in answer.content[:500]:
            raise AlreadyExistsError(f"{key} exists already")
        if answer.status_code >= 300 or b"<Error>" in answer.content[:200]:
            raise GenericError(f"{method} {key} was answered {answer.status_code}: {answer.text[:300]}")
        return answer

    def _signed(self, method: str, path: str, query: str, body: bytes, headers: dict[str, str]) -> dict[str, str]:
        """The request's headers with their signature."""
        now = datetime.datetime.now(datetime.UTC)
        stamp = now.strftime("%Y%m%dT%H%M%SZ")
        day = now.strftime("%Y%m%d")
        digest = hashlib.sha256(body).hexdigest()
        headers = {**headers, "host": httpx.URL(self._endpoint).netloc.decode(), "x-amz-date": stamp,
                   "x-amz-content-sha256": digest}
        if self._token:
            headers["x-amz-security-token"] = self._token
        names = ";".join(sorted(headers))
        canonical = "\n".join((method, path, query, *(f"{n}:{headers[n]}" for n in sorted(headers)), "", names, digest))
        scope = f"{day}/{self._region}/s3/aws4_request"
        to_sign = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
        key = f"AWS4{self._secret}".encode()
        for step in (day, self._region, "s3", "aws4_request"):
            key = hmac.digest(key, step.encode(), "sha256")
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={self._access}/{scope}, SignedHeaders={names}, "
                                    f"Signature={signature}")
        return headers


def _xml(answer: httpx.Response) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(answer.content)
    except ElementTree.ParseError as error:
        raise GenericError(f"the answer is not XML: {error}") from error


def _find(answer: httpx.Response, name: str) -> list[ElementTree.Element]:
    return [e for e in _xml(answer).iter() if e.tag.rpartition("}")[2] == name]


def _text(element: ElementTree.Element, name: str) -> str:
    for child in element.iter():
        if child.tag.rpartition("}")[2] == name:
            return child.text or ""
    raise GenericError(f"the answer has no {name}")
