"""Files of keys: made once, never replaced when lost, rotated so that what is stored stays readable."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from lepton.cli import main
from lepton.results import durable, keys, pem
from lepton.results.errors import KeyFileError, SegmentError
from lepton.results.keyring import recipient_id
from lepton.results.keyring_files import load_keyring
from lepton.results.keys import DeviceKeys

from tests.host.results.test_segment import RECORDS, a_segment


def test_key_files(tmp_path):
    folder = tmp_path / "keys"
    made = DeviceKeys.load_or_create(folder)
    again = DeviceKeys.load_or_create(folder)
    assert again.public_hex == made.public_hex
    assert {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in folder.rglob("*.pem")} == {
        "signing.pem": 0o600, "reader.pem": 0o600, f"recipients/{recipient_id(made.recipients[0])}.pem": 0o600}
    (folder / "reader.pem").chmod(0o644)
    with pytest.raises(KeyFileError, match=r"can be read by others \(mode 644\); correct it with: chmod 600"):
        DeviceKeys.load(folder)
    (folder / "reader.pem").chmod(0o600)
    (folder / "signing.pem").write_text("{}")
    with pytest.raises(KeyFileError, match="are damaged"):
        DeviceKeys.load(folder)
    with pytest.raises(KeyFileError, match="there are no keys in"):
        DeviceKeys.load(tmp_path / "none")


def test_keys_that_are_lost_are_not_made_anew(tmp_path):
    """A new recipient with the old signing key would hide that no one can read what is stored."""
    DeviceKeys.load_or_create(tmp_path)
    [recipient] = (tmp_path / "recipients").iterdir()
    recipient.unlink()
    with pytest.raises(KeyFileError, match=r"there are no recipients in .*, so no key could read the results"):
        DeviceKeys.load_or_create(tmp_path)
    (tmp_path / "recipients").rmdir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["reader.pem", "signing.pem"]


def test_keys_whose_making_was_cut_off_are_completed(tmp_path, monkeypatch):
    create = durable.create

    def crash(path, content):
        if path.name == "signing.pem":
            raise KeyboardInterrupt
        create(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(durable, "create", crash)
        with pytest.raises(KeyboardInterrupt):
            DeviceKeys.load_or_create(tmp_path)
    made = DeviceKeys.load_or_create(tmp_path)
    assert DeviceKeys.load(tmp_path).public_hex == made.public_hex
    assert len(made.recipients) == 1


def test_an_organisations_key_alone_can_read(tmp_path):
    """The device that was given a recipient before its first start keeps no key that reads."""
    public = pem.make_reader(tmp_path / "organisation.pem")
    keys.add_recipient(tmp_path / "device", public)
    device = DeviceKeys.load_or_create(tmp_path / "device")
    assert not (tmp_path / "device" / "reader.pem").exists()
    made = a_segment(keys=device)
    with pytest.raises(SegmentError, match="none of these keys is given"):
        made.open(load_keyring([tmp_path / "device"]))
    (tmp_path / "signers.pem").write_bytes(pem.signer_pem(device.public_hex))
    for path in (tmp_path / "device").rglob("*.pem"):
        path.unlink()  # the device dies
    assert made.open(load_keyring([tmp_path / "organisation.pem", tmp_path / "signers.pem"])) == RECORDS
    with pytest.raises(KeyFileError, match="exists; a private key is not replaced"):
        pem.make_reader(tmp_path / "organisation.pem")


def test_rotation_of_recipients(tmp_path):
    device = tmp_path / "device"
    before = a_segment(keys=DeviceKeys.load_or_create(device))
    first = recipient_id(DeviceKeys.load(device).recipients[0])
    with pytest.raises(KeyFileError, match=f"{first} is the only recipient of .*: no key could read new results"):
        keys.remove_recipient(device, first)
    second = keys.add_recipient(device, pem.make_reader(tmp_path / "new.pem"))
    both = a_segment(keys=DeviceKeys.load(device))
    keys.remove_recipient(device, first)
    after = a_segment(keys=DeviceKeys.load(device))
    assert [made.envelope.recipients for made in (before, after)] == [(first,), (second,)]
    assert set(both.envelope.recipients) == {first, second}
    old = load_keyring([device])
    new = load_keyring([device, tmp_path / "new.pem"])
    assert before.open(old) == both.open(old) == RECORDS
    with pytest.raises(SegmentError, match="none of these keys is given"):
        after.open(old)
    assert before.open(new) == both.open(new) == after.open(new) == RECORDS
    with pytest.raises(KeyFileError, match=f"'nobody' is no recipient of .*; they are: {second}"):
        keys.remove_recipient(device, "nobody")


def test_rotation_of_the_signing_key(tmp_path):
    before = a_segment(keys=DeviceKeys.load_or_create(tmp_path))
    old = load_keyring([tmp_path])
    for _ in range(3):
        after = a_segment(keys=keys.rotate_signing(tmp_path))
    assert before.signer != after.signer
    assert len(DeviceKeys.load(tmp_path).keyring().signers) == 4
    assert before.open(load_keyring([tmp_path])) == after.open(load_keyring([tmp_path])) == RECORDS
    with pytest.raises(SegmentError, match="which is not trusted"):
        after.open(old)


def test_the_number_of_recipients_is_limited(tmp_path):
    DeviceKeys.load_or_create(tmp_path)
    for _ in range(keys.MAX_RECIPIENTS - 1):
        keys.add_recipient(tmp_path, ec.generate_private_key(ec.SECP256R1()).public_key())
    with pytest.raises(KeyFileError, match="may have at most 16 recipients"):
        keys.add_recipient(tmp_path, ec.generate_private_key(ec.SECP256R1()).public_key())
    made = a_segment(keys=DeviceKeys.load(tmp_path))
    assert made.open(load_keyring([tmp_path])) == RECORDS


def test_files_that_are_no_keys(tmp_path):
    (tmp_path / "text.pem").write_text("hello")
    with pytest.raises(KeyFileError, match="has no key in PEM form"):
        load_keyring([tmp_path / "text.pem"])
    with pytest.raises(KeyFileError, match="cannot read the keys"):
        load_keyring([tmp_path / "none.pem"])
    (tmp_path / "p384.pem").write_bytes(pem.public_pem(ec.generate_private_key(ec.SECP384R1()).public_key()))
    with pytest.raises(KeyFileError, match="must have a P-256 public key"):
        pem.read_recipient(tmp_path / "p384.pem")
    with pytest.raises(KeyFileError, match="must have Ed25519 public keys"):
        load_keyring([tmp_path / "p384.pem"])


def test_no_keys_are_taken_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    DeviceKeys.load_or_create(tmp_path / "keys")
    DeviceKeys.load_or_create(tmp_path / "build" / "keys")
    with pytest.raises(KeyFileError, match=r"there are no keys in .*data/lepton/keys; give a device's folder"):
        load_keyring()
    own = DeviceKeys.load_or_create(tmp_path / "data" / "lepton" / "keys")
    assert load_keyring().signers == {own.public_hex}


def test_a_new_device_that_gets_a_recipient_makes_no_key_to_read_with(tmp_path, capsys):
    pem.make_reader(tmp_path / "reader.pem")
    folder = tmp_path / "data" / "keys"
    assert main(["results", "keys", str(folder), "--add-recipient", str(tmp_path / "reader.pub.pem")]) == 0
    assert "the key is here" not in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == {"signing.pem", "recipients"}
    assert folder.stat().st_mode & 0o777 == 0o700
    found = DeviceKeys.load(folder)
    assert found.reader is None
    assert found.recipients == (pem.read_recipient(tmp_path / "reader.pub.pem"),)


def test_the_commands_for_keys(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert main(["results", "keys"]) == 2
    assert "there are no keys in" in capsys.readouterr().err
    assert main(["results", "keys", "--make-reader", "org.pem"]) == 0
    identity = capsys.readouterr().out.split()[1]
    DeviceKeys.load_or_create(tmp_path / "data" / "lepton" / "keys")  # a device that has run before, with its own key
    assert main(["results", "keys", "--add-recipient", "org.pub.pem"]) == 0
    out = capsys.readouterr().out
    assert f"can read {identity}" in " ".join(out.split()) and "(the key is here)" in out
    [own] = {line.split()[2] for line in out.splitlines() if "the key is here" in line}
    assert main(["results", "keys", "--remove-recipient", own]) == 0
    assert own not in capsys.readouterr().out
    assert main(["results", "keys", "--rotate-signing"]) == 0
    assert "signed before with" in capsys.readouterr().out
    assert main(["results", "keys", "--signers", "signers.pem"]) == 0
    assert len(pem.read_signers("signers.pem")) == 2
