"""Requests that a proxy has forwarded which ends TLS: the client's certificate and address are in headers.

Only addresses that the operator names as proxies can connect (`acceptor`), and a proxy must remove these headers from
what clients send. The certificate is in `Client-Cert` (RFC 9440: DER in base64 between colons), or as percent-encoded
PEM, which nginx has as `$ssl_client_escaped_cert`. The address is the last one of `X-Forwarded-For`, which the proxy
adds.
"""

import base64
import binascii
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.datastructures import Headers
from starlette.types import Scope

from .peer import CERTIFICATE

HEADER = "client-cert"
ADDRESS_HEADER = "x-forwarded-for"


def forwarded(scope: Scope) -> None:
    """Put certificate and address from the headers into the request's scope."""
    headers = Headers(scope=scope)
    scope["state"][CERTIFICATE] = _certificate(headers.getlist(HEADER))
    addresses = headers.get(ADDRESS_HEADER, "").rpartition(",")[2].strip()
    if addresses:
        scope["client"] = (addresses[:64], 0)


def _certificate(values: list[str]) -> bytes | None:
    """The certificate in DER; None if there is none that can be read, or more than one."""
    if len(values) != 1:
        return None
    value = values[0].strip()
    try:
        if value.startswith(":") and value.endswith(":") and len(value) > 2:
            return base64.b64decode(value[1:-1], validate=True)
        return x509.load_pem_x509_certificate(unquote(value).encode()).public_bytes(Encoding.DER)
    except (binascii.Error, ValueError):
        return None
