"""`lepton cloud verify`: which keys it checks a store with."""

import shutil

from lepton.cli import main
from lepton.results import DeviceKeys, Spool, Store, Uploader


def test_verify_takes_keys_from_stated_places_only(capsys, tmp_path, monkeypatch):
    """--keys or the user's data folder; not the store's folder, nor `build/keys` where one happens to be."""
    def made(where, device, keys):
        with Spool(tmp_path / f"{device}.db", device=device) as spool, \
                Uploader(spool, Store(where), DeviceKeys.load_or_create(keys)) as uploader:
            spool.append("run", {})
            assert uploader.flush(20)

    def verified(*arguments):
        status = main(["cloud", "verify", *map(str, arguments)])
        out, err = capsys.readouterr()
        return status, " ".join((out + err).split())

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    DeviceKeys.load_or_create(tmp_path / "build" / "keys")  # of the working directory, which are another device's
    store = tmp_path / "store"
    made(store, "cam", tmp_path / "cam")
    status, text = verified(store)
    assert status == 2 and f"there are no keys in {tmp_path / 'data' / 'lepton' / 'keys'}; give a device's" in text
    status, text = verified(store, "--keys", tmp_path / "build" / "keys")
    assert status == 2
    assert f"the keys in {tmp_path / 'build' / 'keys'} do not belong to {store}, whose segments are signed by" in text
    shutil.copytree(tmp_path / "cam", store / "keys")
    assert verified(store)[0] == 2  # a store does not vouch for itself
    status, text = verified(store, "--keys", tmp_path / "nowhere")
    assert status == 2 and f"cannot read the keys {tmp_path / 'nowhere'}: No such file or directory" in text
    status, text = verified(store, "--keys", tmp_path / "cam")
    assert status == 0 and "1 records in" in text
    made(store, "beta", tmp_path / "beta")
    status, text = verified(store, "--keys", tmp_path / "cam")
    assert status == 1 and "NOT CHECKED: 1 segments of device beta, signed by" in text
    assert "right, but others could not be checked" in text and "ERRORS FOUND" not in text
    assert verified(store, "--keys", tmp_path / "cam", "--keys", tmp_path / "beta")[0] == 0
    assert verified(store, "--keys", tmp_path / "beta", "--device", "beta")[0] == 0
    status, text = verified(store, "--keys", tmp_path / "cam", "--device", "none")
    assert status == 2 and f"{store} has no results of device 'none'; give the folder or URL of another" in text
    shutil.copytree(tmp_path / "cam", tmp_path / "data" / "lepton" / "keys")
    assert verified(store, "--device", "cam")[0] == 0  # the user's
    signers = tmp_path / "signers.pem"  # public keys are enough
    assert main(["results", "keys", str(tmp_path / "beta"), "--signers", str(signers)]) == 0
    assert verified(store, "--keys", signers, "--device", "beta")[0] == 0
    (tmp_path / "empty" / "results").mkdir(parents=True)
    status, text = verified(tmp_path / "empty")
    assert status == 2 and "has no results; give the folder or URL of another store" in text
