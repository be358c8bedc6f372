"""The owner of a certificate: a device or a reader of a tenant."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from cryptography import x509

from .errors import ServiceError

Role = Literal["device", "reader"]
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_URI = re.compile(rf"urn:lepton:({'|'.join(get_args(Role))}):({NAME}):({NAME})")


@dataclass(frozen=True)
class Identity:
    """A name within a tenant, and its role: devices write their own segments, readers read those of their tenant."""

    role: Role
    tenant: str
    name: str

    def __post_init__(self):
        if self.role not in get_args(Role):
            raise ServiceError(f"a role must be one of {', '.join(get_args(Role))}, not {self.role!r}")
        for what, value in (("tenant", self.tenant), ("name", self.name)):
            if not re.fullmatch(NAME, value):
                raise ServiceError(f"a {what} must be 1 to 64 letters, digits, dots, underscores or hyphens and start "
                                   f"with a letter or digit, not {value!r}")

    def __str__(self) -> str:
        return f"{self.role} {self.name} of tenant {self.tenant}"

    @property
    def uri(self) -> str:
        """The URI of the certificate's subject alternative name (RFC 5280, section 4.2.1.6)."""
        return f"urn:lepton:{self.role}:{self.tenant}:{self.name}"

    @classmethod
    def of(cls, certificate: x509.Certificate) -> "Identity | None":
        """The owner of a certificate of this service; None for one without an identity, such as a server's."""
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return None
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        match = _URI.fullmatch(uris[0]) if len(uris) == 1 else None
        if not match:
            return None
        return cls("device" if match[1] == "device" else "reader", match[2], match[3])
