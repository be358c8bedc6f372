"""Keyrings from folders of devices and from PEM files; by default from the user's data folder."""

from collections.abc import Iterable
from pathlib import Path

import platformdirs

from . import grants
from .errors import KeyFileError
from .keyring import Keyring, recipient_id
from .keys import DeviceKeys
from .pem import read_certificates, read_private, read_signers


def user_folder() -> Path:
    """`lepton` in the user's data folder, on Linux that of the XDG base directory specification."""
    return platformdirs.user_data_path("lepton")


def load_keyring(paths: Iterable[str | Path] = ()) -> Keyring:
    """The keys in folders of devices and in PEM files; by default those in the user's data folder.

    A file has a recipient's private key, public signing keys, the certificate of an authority, or grants. Nothing is
    taken from the working directory or from a store unless it is named. Raises `KeyFileError`.
    """
    named = [Path(path).expanduser() for path in paths]
    own = user_folder() / "keys"
    if not named and not (own / "signing.pem").exists():
        raise KeyFileError(f"there are no keys in {own}; give a device's folder of keys, or PEM files with its public "
                           "signing key, an authority's certificate or a recipient's private key, with --keys PATH")
    keyring = Keyring()
    granted = [path for path in named if path.is_file() and _content(path).startswith(grants.MAGIC)]
    for path in [path for path in named if path not in granted] or [own]:
        keyring |= _load(path)
    for path in granted:  # for one of the private keys
        keyring |= Keyring(data_keys=grants.read(_content(path), keyring.readers, str(path)))
    return keyring


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"cannot read the keys {path}: {error.strerror}") from error


def _load(path: Path) -> Keyring:
    if path.is_dir():
        return DeviceKeys.load(path).keyring()
    content = _content(path)
    if b"PRIVATE KEY-----" in content:
        key = read_private(path)
        return Keyring(readers={recipient_id(key.public_key()): key})
    if b"BEGIN CERTIFICATE-----" in content:
        return Keyring(authorities=tuple(read_certificates(path)))
    return Keyring(signers=read_signers(path))
