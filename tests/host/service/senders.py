"""Devices as the service sees them: keys, certificate requests, segments in a chain."""

import base64
import secrets

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from lepton.results import segment as segments
from lepton.results.credentials import PROOF_CONTEXT
from lepton.results.keys import DeviceKeys
from lepton.service.authority import Authority
from lepton.service.database import IndexDatabase
from lepton.service.enrolment import Enrolment
from lepton.service.identity import Identity

MODELS = {"mnist": "1" * 64, "kws": "2" * 64}


def new_request(key=None) -> x509.CertificateSigningRequest:
    """A certificate request of a new key, or of `key`."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, algorithm)


def pem(thing) -> str:
    return thing.public_bytes(serialization.Encoding.PEM).decode()


def der(thing) -> bytes:
    return thing.public_bytes(serialization.Encoding.DER)


def signing(keys: DeviceKeys, request) -> tuple[str, str]:
    """Signing key and its proof, as enrolment wants them."""
    return tuple(base64.b64encode(part).decode() for part in (
        keys.signing.public_key().public_bytes_raw(), keys.signing.sign(PROOF_CONTEXT + der(request))))


def enrolled(database: IndexDatabase, authority: Authority, identity: Identity) -> DeviceKeys:
    """The keys of a device that has enrolled under this name."""
    keys = DeviceKeys.generate()
    request = new_request()
    enrolment = Enrolment(database, authority)
    enrolment.enrol(enrolment.invite(identity), pem(request), *signing(keys, request))
    return keys


class Spool:
    """Makes the segments of one spool, each naming the one before."""

    def __init__(self, device: str, keys: DeviceKeys, first: int = 0, tenant: str = "acme"):
        self.tenant = tenant
        self.device = device
        self.keys = keys
        self.identity = secrets.token_hex(16)
        self.sequence = first
        self.previous = ""

    def next(self, *, model: str = "mnist", at_ms: int = 1_700_000_000_000, records: int = 2, noise: int = 0,
             **about) -> segments.Segment:
        """`noise`: bytes of the segment that do not compress. `about` replaces fields of the header."""
        numbers = range(self.sequence * records, (self.sequence + 1) * records)
        lines = [b'{"number":%d,"run":"r1"}' % number for number in numbers]
        if noise:
            lines[0] = lines[0][:-1] + b',"noise":"%s"}' % secrets.token_hex(noise).encode()
        made = segments.seal(self.keys, lines, **{
            "tenant": self.tenant, "device": self.device, "spool": self.identity, "sequence": self.sequence,
            "previous": self.previous,
            "run": "r1", "first": numbers.start, "last": numbers.stop - 1, "from_ms": at_ms, "to_ms": at_ms + 999,
            "origin": {"model": model, "model_hash": MODELS[model], "program_hash": "p", "config_hash": "c"},
            "counters": {"appended": numbers.stop, "rejected": 0, "dropped": 0}, **about})
        self.sequence += 1
        self.previous = made.digest
        return made
