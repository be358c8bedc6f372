"""Only a whole, signed image for this architecture passes; and what the compiler made fits its memories."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from lepton.arch import PRESETS
from lepton.arch.controller import CODE_BYTES, DATA_BYTES, ROM_BYTES, ImageHeader
from lepton.firmware.build import program
from lepton.firmware.image import FIRMWARE_VERSION, ImageError, build_image, development_key, verify_image

KEY = Ed25519PrivateKey.generate()
TRUSTED = [Ed25519PrivateKey.generate().public_key(), KEY.public_key()]


@pytest.fixture(scope="module")
def image():
    return build_image(PRESETS["tiny"], KEY)


def resigned(image, **changes):
    values = ImageHeader.unpack(image[:ImageHeader.size]) | changes | {"signature": 0}
    unsigned = ImageHeader.pack(**values) + image[ImageHeader.size:]
    signature = int.from_bytes(KEY.sign(unsigned), "little")
    return ImageHeader.pack(**values | {"signature": signature}) + image[ImageHeader.size:]


def test_a_good_image(image):
    header = verify_image(image, TRUSTED, minimum_version=FIRMWARE_VERSION)
    assert header["code_bytes"] == len(program("app").code) and header["image_bytes"] == len(image)


@pytest.mark.parametrize("position", [0, 5, 40, 63, 64, 127, 128, 5000, -1])
def test_any_changed_byte_is_noticed(image, position):
    damaged = bytearray(image)
    damaged[position] ^= 0x40
    with pytest.raises(ImageError):
        verify_image(bytes(damaged), TRUSTED)


def test_whose_signature_counts(image):
    with pytest.raises(ImageError, match="none of the 1 trusted keys has signed the image"):
        verify_image(image, TRUSTED[:1])
    with pytest.raises(ImageError, match="none of the 0 trusted keys"):
        verify_image(image, [])


@pytest.mark.parametrize(("changes", "text"), [
    (dict(architecture=77), "the image is for architecture 77"),
    (dict(version=FIRMWARE_VERSION - 1), "the driver wants 0x010000 or newer"),
    (dict(image_bytes=1000), "the header says 1000 bytes"),
    (dict(code_bytes=CODE_BYTES + 4), "of code, but the image has"),
    (dict(magic=1), "the image must begin with"),
])
def test_signed_but_wrong(image, changes, text):
    with pytest.raises(ImageError, match=text):
        verify_image(resigned(image, **changes), TRUSTED, minimum_version=FIRMWARE_VERSION)


def test_too_short():
    with pytest.raises(ImageError, match="at least 128 bytes, this one 3"):
        verify_image(b"abc", TRUSTED)


def test_the_development_key_is_made_once_and_only_its_owner_reads_it(tmp_path):
    first = development_key(tmp_path / "keys")
    second = development_key(tmp_path / "keys")
    assert first.private_bytes_raw() == second.private_bytes_raw()
    assert [p.stat().st_mode & 0o777 for p in (tmp_path / "keys").iterdir()] == [0o600]


def test_programs_fit_their_memories():
    rom = program("rom")
    app = program("app")
    assert 0 < len(rom.code) <= ROM_BYTES and rom.variables == 0
    assert 0 < len(app.code) <= CODE_BYTES and app.stack > 100
    assert app.variables + app.stack <= DATA_BYTES, app.report()
