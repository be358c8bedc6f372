"""Settings of an S3 store: the AWS_* variables, or those of the server that `lepton cloud up` has started."""

import os
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from . import server
from .errors import StoreError

ANSWER = timedelta(seconds=60)  # SeaweedFS answers in milliseconds, a loaded one or a remote one in seconds
SMALL = 64 << 10  # bytes; a usual segment has half of them
SLOWEST = 1000  # bytes a second of one of the uploader's 8 lanes over a link of 64 kbit/s

_VARIABLES = {"access_key_id": ("AWS_ACCESS_KEY_ID",), "secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
              "session_token": ("AWS_SESSION_TOKEN",), "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
              "endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")}
# With one of these variables obstore gets credentials by itself. Without any it would ask EC2's metadata service at
# 169.254.169.254, an address that outside of EC2 can belong to any machine of the local network.
_OTHER_WAYS = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
               "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_METADATA_ENDPOINT", "AWS_SKIP_SIGNATURE")


def options(where: str, given: Mapping = MappingProxyType({})) -> dict:
    """Options of obstore for a URL, besides those that are `given`. Raises `StoreError` if there are no credentials.

    obstore repeats a request once at most: the uploader decides about further attempts.
    """
    if not where.startswith("s3://"):
        return {}
    found = {name: os.environ[variable] for name, variables in _VARIABLES.items()
             for variable in reversed(variables) if os.environ.get(variable)}
    if "access_key_id" not in found:
        found = {**server.access(urlsplit(where).netloc), **found}
    if not {"access_key_id", "skip_signature"} & {*found, *given} and not any(map(os.environ.get, _OTHER_WAYS)):
        raise StoreError(f"there are no credentials for {where!r}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
                         "(and AWS_ENDPOINT_URL if it is not Amazon's), or start a server with: lepton cloud up; for "
                         "the role of an EC2 instance set AWS_METADATA_ENDPOINT=http://169.254.169.254")
    found.setdefault("region", "us-east-1")
    plain = found.get("endpoint", "").startswith("http://")
    return {**found, "retry_config": {"max_retries": 1, "retry_timeout": timedelta(seconds=10)},
            "client_options": {"timeout": ANSWER, "connect_timeout": timedelta(seconds=10), "allow_http": plain}}


def client_options_for(size: int, given: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """The class of an object's size, and the client's options to send objects of that class.

    The client's time limit is for a whole request. Over a slow link that must be longer for a larger object: all of its
    `ANSWER` is for the server, and the body has the time that it takes at `SLOWEST`.
    """
    doublings = max(0, (max(1, size) - 1) // SMALL).bit_length()
    options = dict(given.get("client_options") or {})
    usual = options.get("timeout", ANSWER)
    if isinstance(usual, timedelta):
        options["timeout"] = usual + timedelta(seconds=(SMALL << doublings) / SLOWEST)
    return doublings, {**given, "client_options": options}
