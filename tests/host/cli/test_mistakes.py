"""A user's mistake ends in one line that says what is wrong, on every command: never in a traceback."""

import shutil
import zipfile

import lepton.models
import numpy as np
import pytest
from lepton.cli import main
from lepton.cli.status import EXIT_USER_ERROR

MODEL = lepton.models.load("mnist")
GOLDEN = ("--device", "golden")
COMPILED = ("compile", "net.tflite", "--config", "tiny")
RUN = ("run", "net.lepton", *GOLDEN)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One of each: what a command takes, and files and folders that it cannot take."""
    folder = tmp_path_factory.mktemp("files")
    shutil.copy(MODEL.path, folder / "net.tflite")
    assert main(["compile", str(folder / "net.tflite"), "-o", str(folder / "net.lepton"), "--config", "tiny"]) == 0
    good = (folder / "net.lepton").read_bytes()
    image = MODEL.inputs[:1]
    for suffix in ("tflite", "onnx", "pt2", "lepton", "npy", "npz", "db"):
        (folder / f"folder.{suffix}").mkdir()
        (folder / f"junk.{suffix}").write_bytes(b"PK\3\4junk" * 50)
        (folder / f"empty.{suffix}").write_bytes(b"")
    (folder / "cut.lepton").write_bytes(good[:len(good) // 2])
    (folder / "cut.tflite").write_bytes(MODEL.path.read_bytes()[:5000])
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 0xFF
    (folder / "flipped.lepton").write_bytes(flipped)
    np.save(folder / "x.npy", image)
    (folder / "cut.npy").write_bytes((folder / "x.npy").read_bytes()[:100])
    for name, array in (("float", image.astype(np.float32)), ("shape", image[:, :5]), ("none", image[:0]),
                        ("scalar", np.int8(3))):
        np.save(folder / f"{name}.npy", array)
    np.save(folder / "objects.npy", np.array([object()]), allow_pickle=True)
    np.savez(folder / "other.npz", other=image)
    np.savez(folder / "no.npz")
    np.savez(folder / "uneven.npz", a=image, b=image[:0])
    with zipfile.ZipFile(folder / "text.npz", "w") as archive:
        archive.writestr("a.txt", "hello")
    with zipfile.ZipFile(folder / "member.npz", "w") as archive:
        archive.writestr("input.npy", b"\x93NUMPY\x01\x00junk")
    return folder


NETWORKS = [f"{kind}.{suffix}" for kind in ("junk", "empty", "folder", "missing") for suffix in ("tflite", "onnx")]
MODELS = [f"{kind}.lepton" for kind in ("junk", "empty", "folder", "missing", "cut", "flipped")]
MISTAKES = [
    *(("compile", name, "--config", "tiny") for name in (*NETWORKS, "cut.tflite", "x.npy", "net.lepton", "", ".",
                                                          "/dev/null", "missing/net.tflite", "junk.pt2", "folder.pt2")),
    *((*COMPILED, "-o", name) for name in ("folder.db", "missing/net.lepton", "/proc/net.lepton", "/dev/null",
                                           "empty.db/net.lepton", f"{'a' * 300}.lepton")),
    *((*COMPILED, *more) for more in (("--print-after", "nothing"), ("--calibration", "missing.npy"))),
    *(("run", name, "--input", "x.npy", *GOLDEN) for name in (*MODELS, "net.tflite", "x.npy", "")),
    *((*RUN, "--input", name) for name in (
        "missing.npy", "folder.npy", "folder.npz", "junk.npy", "junk.npz", "empty.npy", "cut.npy", "float.npy",
        "shape.npy", "none.npy", "scalar.npy", "objects.npy", "other.npz", "no.npz", "uneven.npz", "text.npz",
        "member.npz", "net.lepton", "/dev/null", "")),
    *((*RUN, "--input", "x.npy", "--output", name) for name in ("folder.db", "missing/y.npz", "/proc/y.npz",
                                                                "empty.db/y.npz", "/dev/full")),
    *((*RUN, "--input", "x.npy", "--upload", where) for where in ("empty.db", "empty.db/x", "nonsense://x", "s3://x",
                                                                  "https://127.0.0.1:1", "http://x")),
    ("sim", *GOLDEN, "--images", "1", "--waves", "waves.fst"), ("sim", *GOLDEN, "--images", "1", "--window", "0:9"),
    ("sim", "--images", "1", "--waves", "folder.db"), ("sim", *GOLDEN, "--images", "1", "--store", "nonsense://x"),
    *(("profile", name) for name in (*MODELS, "junk.tflite", "x.npy")), ("profile", "net.lepton", "--config", "base"),
    *(("profile", "net.lepton", "--input", name) for name in ("missing.npy", "junk.npy")),
    *(("log", name) for name in ("missing.lepton", "junk.lepton", "x.npy")),
    ("bench", "nothing"), ("bench", "spool_single", "--output", "empty.db/x"),
    *(("cloud", action, "--spool", name) for action in ("status", "salvage") for name in (
        "missing.db", "folder.db", "empty.db", "junk.db", "net.lepton", "/dev/null")),
    *(("cloud", "accept", where) for where in ("x", "nonsense://x", "s3://x", "empty.db")),
    ("cloud", "accept", "x", "--spool", "junk.db"), ("cloud", "accept", "x", "--home", "empty.db"),
    *(("cloud", "verify", where) for where in ("missing", "folder.db", "empty.db", "nonsense://x", "s3://x",
                                               "http://x")),
    ("cloud", "serve", "--home", "empty.db"), ("cloud", "serve", "--home", "h", "--listen", "256.1.1.1:80"),
    ("cloud", "serve", "--home", "h", "--database", "nonsense://x"), ("cloud", "invite", "a/b", "cam", "--home", "h"),
    ("cloud", "invite", "acme", "../cam", "--home", "h"), ("cloud", "invite", "acme", "cam", "--home", "empty.db"),
    *(("cloud", "enroll", where, "--code", "x", "--authority", name, "--keys", "k") for where in (
        "https://127.0.0.1:1", "nonsense", "http://[bad") for name in (
            "missing.pem", "folder.db", "empty.db", "x.npy")),
    *(("cloud", "rotate", "https://127.0.0.1:1", "--keys", name) for name in ("missing", "folder.db", "empty.db")),
]


@pytest.mark.parametrize("arguments", MISTAKES, ids=lambda arguments: " ".join(arguments)[:60] or "none")
def test_a_mistake_is_one_line(arguments, files, tmp_path, monkeypatch, capsys):
    shutil.copytree(files, tmp_path / "files")
    monkeypatch.chdir(tmp_path / "files")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable, raising=False)
    assert main(list(arguments)) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    own = [line for line in error.splitlines() if line.startswith("lepton: ")]  # frameworks may say something, too
    assert len(own) == 1 and len(own[0]) > len("lepton: ") + 5 and error.endswith(f"{own[0]}\n"), error
    assert "Traceback" not in error


@pytest.mark.parametrize(("arguments", "text"), [
    (("sim", *GOLDEN, "--waves", "w.fst"), "--waves records the chip's signals, which device 'golden' does not have; "
                                           "leave out --device, or give --device rtl"),
    (("sim", "--window", "0:9"), "--window selects the cycles of waveforms; give their file with --waves FILE"),
    (("cloud", "status", "--spool", "empty.db"), "empty.db is empty, and not a spool"),
    (("cloud", "salvage", "--spool", "folder.db"), "folder.db: there is no such spool"),
])
def test_the_line_says_what_to_do(arguments, text, files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    assert main(list(arguments)) == EXIT_USER_ERROR
    assert text in capsys.readouterr().err
    assert (files / "empty.db").read_bytes() == b""
