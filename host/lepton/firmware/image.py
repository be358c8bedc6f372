"""The boot image: the firmware, the self-test's job, and a signature over both."""

import os
import zlib
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ..arch import ChipConfig
from ..arch.controller import CODE_BYTES, IMAGE_MAGIC, IMAGE_OFFSET, ImageHeader
from ..arch.registers import VERSION
from .build import program
from .selftest import self_test

FIRMWARE_VERSION = 0x00_01_00_00  # major, minor and patch, one byte each, from bit 23 down
SIGNATURE_BYTES = 64  # Ed25519 (RFC 8032, section 5.1.6)


class ImageError(ValueError):
    """The image must not be loaded, for the reason in the text."""


def build_image(config: ChipConfig, key: Ed25519PrivateKey) -> bytes:
    """The signed image for a chip of `config`, with the firmware of this source tree."""
    code = program("app").code
    body = code + bytes(-(ImageHeader.size + len(code)) % 64)
    test = self_test(config, IMAGE_OFFSET + ImageHeader.size + len(body))
    body += test.image
    header = dict(magic=IMAGE_MAGIC, version=FIRMWARE_VERSION, architecture=VERSION, code_bytes=len(code),
                  code_crc=zlib.crc32(code), image_bytes=ImageHeader.size + len(body), test_job=test.job,
                  test_output=test.output, test_bytes=test.output_bytes, test_crc=test.crc)
    unsigned = ImageHeader.pack(**header) + body
    return ImageHeader.pack(**header, signature=int.from_bytes(key.sign(unsigned), "little")) + body


def verify_image(image: bytes, trusted: list[Ed25519PublicKey], minimum_version: int = 0) -> dict[str, int]:
    """The header of an image that may be loaded. Raises `ImageError` for any other."""
    if len(image) < ImageHeader.size:
        raise ImageError(f"a boot image has at least {ImageHeader.size} bytes, this one {len(image)}")
    header = ImageHeader.unpack(image[:ImageHeader.size])
    if header["magic"] != IMAGE_MAGIC:
        raise ImageError(f"the image must begin with {IMAGE_MAGIC:#x}, not {header['magic']:#x}: "
                         "give the controller's firmware, as `build_image` makes it")
    signature = header["signature"].to_bytes(SIGNATURE_BYTES, "little")
    unsigned = image[:ImageHeader.size - SIGNATURE_BYTES] + bytes(SIGNATURE_BYTES) + image[ImageHeader.size:]
    if not any(_signed(key, signature, unsigned) for key in trusted):
        raise ImageError(f"none of the {len(trusted)} trusted keys has signed the image; "
                         "rebuild it, or give the driver the public key of the signer")
    if header["architecture"] != VERSION:
        raise ImageError(f"the image is for architecture {header['architecture']}, this driver for {VERSION}; "
                         "use driver and firmware of one release")
    if header["version"] < minimum_version:
        raise ImageError(f"the firmware has version {header['version']:#08x}, the driver wants {minimum_version:#08x} "
                         "or newer; rebuild the image")
    if header["image_bytes"] != len(image) or not 0 < header["code_bytes"] <= min(
            CODE_BYTES, len(image) - ImageHeader.size):
        raise ImageError(f"the header says {header['image_bytes']} bytes with {header['code_bytes']} of code, but the "
                         f"image has {len(image)} bytes; rebuild it")
    return header


def _signed(key: Ed25519PublicKey, signature: bytes, data: bytes) -> bool:
    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True


def development_key(folder: Path) -> Ed25519PrivateKey:
    """The signing key of this checkout: made at the first use, and kept in `folder`, never in the repository.

    It detects an image that is damaged or from another checkout. A product must be signed with a key that is not on the
    machine with the driver.
    """
    path = folder / "firmware.key"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"firmware.key.{os.getpid()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(Ed25519PrivateKey.generate().private_bytes_raw())
        try:
            os.link(temporary, path)  # the first of several processes wins
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return Ed25519PrivateKey.from_private_bytes(path.read_bytes())
