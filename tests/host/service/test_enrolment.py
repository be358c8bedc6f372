"""One-time codes, certificates, rotation and revocation, on both databases."""

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from lepton.results.credentials import RENEWAL_CONTEXT
from lepton.results.keys import DeviceKeys
from lepton.service.authority import Authority
from lepton.service.enrolment import Enrolment
from lepton.service.errors import ServiceError
from lepton.service.identity import Identity
from lepton.service.refusal import RequestRefused

from tests.host.service.senders import der, new_request, pem, signing

CAMERA = Identity("device", "acme", "cam7")
READER = Identity("reader", "acme", "alice")
HOUR = 3600.0


class Clock:
    now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def enrolment(database, authority, clock):
    return Enrolment(database, authority, days=400, clock=clock)


def enrol(enrolment, code, request=None, keys=None):
    request = request or new_request()
    return enrolment.enrol(code, pem(request), *signing(keys or DeviceKeys.generate(), request))


def refusal(call, *arguments):
    with pytest.raises(RequestRefused) as caught:
        call(*arguments)
    return caught.value.status, caught.value.reason


def test_code_gives_a_certificate(enrolment, authority):
    request = new_request()
    issued = enrol(enrolment, enrolment.invite(CAMERA), request)
    certificate = issued.certificate
    certificate.verify_directly_issued_by(authority.root)
    assert issued.identity == Identity.of(certificate) == CAMERA
    assert certificate.public_key() == request.public_key()
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert enrolment.identify(der(certificate)).identity == CAMERA


def test_code_serves_one_key(enrolment):
    code = enrolment.invite(CAMERA)
    request = new_request()
    first = enrol(enrolment, code, request)
    again = enrol(enrolment, code, request)  # the answer was lost
    assert first.certificate.serial_number != again.certificate.serial_number
    assert refusal(enrol, enrolment, code) == (403, "code_refused")


def test_of_many_at_once_one_gets_the_code(enrolment):
    code = enrolment.invite(CAMERA)
    requests = [new_request() for _ in range(8)]

    def attempt(request):
        try:
            return enrol(enrolment, code, request)
        except RequestRefused:
            return None

    with ThreadPoolExecutor(8) as pool:
        issued = list(pool.map(attempt, requests))
    assert sum(one is not None for one in issued) == 1


@pytest.mark.parametrize("code", ["", "guess", "\0", "\u20ac" * 100])
def test_unknown_code(enrolment, code):
    assert refusal(enrol, enrolment, code) == (403, "code_refused")


def test_code_expires(enrolment, clock):
    code = enrolment.invite(CAMERA, hours=2)
    clock.now += 2 * HOUR
    assert refusal(enrol, enrolment, code) == (403, "code_refused")


def test_code_is_not_kept(database, enrolment):
    code = enrolment.invite(CAMERA)
    with database.read() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM codes").all()
    assert len(rows) == 1
    assert code not in str(rows)


def test_refused_request_does_not_spend_the_code(enrolment):
    code = enrolment.invite(CAMERA)
    request = new_request()
    key, _ = signing(DeviceKeys.generate(), request)
    _, another = signing(DeviceKeys.generate(), request)
    short = base64.b64encode(b"short").decode()
    for pair in ((None, None), (key, another), (key, "AAAA"), ("?", another), (short, another)):
        assert refusal(enrolment.enrol, code, pem(request), *pair) == (422, "invalid")
    enrol(enrolment, code)


def test_proof_of_another_request(enrolment):
    """A signing key cannot be taken over with a proof that was seen elsewhere."""
    theirs = new_request()
    mine = new_request()
    stolen = signing(DeviceKeys.generate(), theirs)
    assert refusal(enrolment.enrol, enrolment.invite(CAMERA), pem(mine), *stolen) == (422, "invalid")


@pytest.mark.parametrize("request_pem", ["", "no PEM", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"
                                         "-----END CERTIFICATE REQUEST-----\n"])
def test_unreadable_request(enrolment, request_pem):
    assert refusal(enrolment.enrol, enrolment.invite(READER), request_pem, None, None) == (422, "invalid")


def test_request_with_a_forged_signature(enrolment):
    request = der(new_request())
    forged = x509.load_der_x509_csr(request[:-1] + bytes([request[-1] ^ 1]))
    assert refusal(enrolment.enrol, enrolment.invite(READER), pem(forged), None, None) == (422, "invalid")


@pytest.mark.parametrize("key", [lambda: ec.generate_private_key(ec.SECP384R1()),
                                 lambda: rsa.generate_private_key(65537, 2048)], ids=["p384", "rsa"])
def test_keys_of_other_kinds(enrolment, key):
    with pytest.raises(RequestRefused, match="must be P-256 or Ed25519"):
        enrolment.enrol(enrolment.invite(READER), pem(new_request(key())), None, None)


def test_names_come_from_the_code(enrolment):
    """What a request claims to be is not looked at."""
    key = ec.generate_private_key(ec.SECP256R1())
    claims = (x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
              .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(
                  Identity("reader", "other", "root").uri)]), critical=False)
              .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True))
    request = claims.sign(key, hashes.SHA256())
    certificate = enrolment.enrol(enrolment.invite(READER), pem(request), None, None).certificate
    assert Identity.of(certificate) == READER
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_rotation(enrolment):
    peer = enrolment.identify(der(enrol(enrolment, enrolment.invite(CAMERA)).certificate))
    issued = enrolment.rotate(peer, pem(new_request(ed25519.Ed25519PrivateKey.generate())))
    assert enrolment.identify(der(issued.certificate)) == peer


def test_certificate_expires(enrolment, clock):
    certificate = enrol(enrolment, enrolment.invite(CAMERA)).certificate
    clock.now = certificate.not_valid_after_utc.timestamp() - 1
    enrolment.identify(der(certificate))
    clock.now += 1
    assert refusal(enrolment.identify, der(certificate)) == (401, "certificate_expired")


def renewal(certificate, key):
    """The arguments of `renew` for another key."""
    request = new_request()
    proof = key.sign(RENEWAL_CONTEXT + request.public_bytes(Encoding.DER), ec.ECDSA(hashes.SHA256()))
    return certificate.public_bytes(Encoding.PEM).decode(), pem(request), base64.b64encode(proof).decode()


def test_an_expired_certificate_is_renewed_with_its_key(enrolment, clock):
    peer = enrolment.identify(der(enrol(enrolment, enrolment.invite(CAMERA)).certificate))
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = enrolment.rotate(peer, pem(new_request(key))).certificate
    clock.now = certificate.not_valid_after_utc.timestamp() + 90 * 24 * HOUR
    assert refusal(enrolment.identify, der(certificate)) == (401, "certificate_expired")
    stranger = ec.generate_private_key(ec.SECP256R1())
    assert refusal(enrolment.renew, *renewal(certificate, stranger)) == (401, "certificate_unknown")
    good = renewal(certificate, key)
    assert refusal(enrolment.renew, good[0], pem(new_request()), good[2]) == (401, "certificate_unknown")
    assert refusal(enrolment.renew, good[0], good[1], "?") == (401, "certificate_unknown")
    assert enrolment.renew(*good).identity == CAMERA
    clock.now += 91 * 24 * HOUR  # beyond the grace of 180 days
    assert refusal(enrolment.renew, *renewal(certificate, key)) == (401, "certificate_expired")
    clock.now = certificate.not_valid_after_utc.timestamp() + HOUR
    enrolment.revoke(CAMERA)
    assert refusal(enrolment.renew, *renewal(certificate, key)) == (401, "certificate_revoked")


def test_revocation_ends_all_that_a_code_began(enrolment):
    first = enrol(enrolment, enrolment.invite(CAMERA)).certificate
    peer = enrolment.identify(der(first))
    rotated = enrolment.rotate(peer, pem(new_request())).certificate
    unused = enrolment.invite(CAMERA)
    bystander = enrol(enrolment, enrolment.invite(Identity("device", "acme", "cam8"))).certificate
    namesake = enrol(enrolment, enrolment.invite(Identity("device", "other", "cam7"))).certificate

    assert enrolment.revoke(CAMERA) == 2
    raced = enrolment.rotate(peer, pem(new_request())).certificate  # was let in before the revocation
    for certificate in (first, rotated, raced):
        assert refusal(enrolment.identify, der(certificate)) == (401, "certificate_revoked")
    assert refusal(enrol, enrolment, unused) == (403, "code_refused")
    for certificate in (bystander, namesake):
        enrolment.identify(der(certificate))
    with pytest.raises(ServiceError, match="there is nothing to revoke"):
        enrolment.revoke(CAMERA)


def test_certificate_of_our_authority_that_is_not_listed(enrolment, authority):
    certificate = authority.issue(CAMERA, new_request())
    assert refusal(enrolment.identify, der(certificate)) == (401, "certificate_unknown")


@pytest.mark.parametrize("role, tenant, name, text", [
    ("device", "a:b", "cam", "a tenant must be"), ("device", "acme", "../cam", "a name must be"),
    ("device", "acme", "", "a name must be"), ("admin", "acme", "cam", "a role must be one of device, reader")])
def test_names_that_cannot_be(role, tenant, name, text):
    with pytest.raises(ServiceError, match=text):
        Identity(role, tenant, name)
