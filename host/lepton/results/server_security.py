"""Closes the ports of SeaweedFS that have no S3 credentials to other users of the machine.

SeaweedFS reads `security.toml` of its working folder: HTTP requests to the filer and the volumes then need a token that
is signed with a key of the file, and gRPC needs a client certificate of an authority that only this folder has.
"""

import datetime
import secrets
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from . import durable

_FILE = "security.toml"
_DAYS = 36_500  # the certificates protect one machine's ports from its other users, and are never sent elsewhere
_TOKENS = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
_PARTS = ("volume", "master", "filer", "s3", "client", "msg_broker")


def write(folder: Path) -> None:
    """Make keys, certificates and `security.toml` in `folder`, unless they are there. Only its owner can read them."""
    if (folder / _FILE).exists():
        return
    authority = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    root = _certificate("lepton store authority", authority.public_key(), authority, None)
    own = _certificate("lepton store", key.public_key(), authority, root)
    for name, content in (("grpc-ca.pem", _pem(root)), ("grpc.pem", _pem(own)), ("grpc.key", key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))):
        durable.replace(folder / name, content)
    lines = [f'[{name}]\nkey = "{secrets.token_urlsafe(32)}"\n' for name in _TOKENS]
    lines.append(f'[grpc]\nca = "{folder / "grpc-ca.pem"}"\n')
    lines += [f'[grpc.{part}]\ncert = "{folder / "grpc.pem"}"\nkey = "{folder / "grpc.key"}"\n' for part in _PARTS]
    durable.replace(folder / _FILE, "\n".join(lines).encode())


def _certificate(name: str, key: ec.EllipticCurvePublicKey, signer: ec.EllipticCurvePrivateKey,
                 issuer: x509.Certificate | None) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject if issuer else subject)
        .public_key(key).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.DNSName(name.replace(" ", "-"))]),
                       critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                       critical=False)
        .sign(signer, hashes.SHA256()))


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
