"""The command as a user meets it: exit status, one clear line, a traceback only on request or for bugs."""

import subprocess
import sys
import time

import pytest
from lepton.cli import main
from lepton.cli.status import EXIT_INTERRUPTED, EXIT_USER_ERROR
from lepton.results import DeviceKeys, Spool, Store, Uploader


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_help_starts_at_once():
    code = "import sys; from lepton.cli import main; sys.argv = ['lepton', '--help']; main()"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert time.monotonic() - started < 5  # generous: other tests share the machine
    for heavy in ("numpy", "rich", "apsw", "obstore", "amaranth"):
        assert f" {heavy}\n" not in done.stderr
    assert all(command in done.stdout for command in ("sim", "compile", "run", "cloud"))


@pytest.mark.parametrize(("arguments", "text"), [
    (["sim", "--images", "0"], "argument --images: must be at least 1, not 0"),
    (["sim", "--window", "9:3"], "argument --window: the first cycle must be before the last, not '9:3'"),
    (["sim", "--window", "all"], "argument --window: must be two cycles as FIRST:LAST, not 'all'"),
    (["sim", "--config", "huge"], "argument --config: must be tiny, small, base, large or a file NAME.toml, not "
                                     "'huge'"),
    (["run", "net.lepton"], "the following arguments are required: --input"),
    (["compile", "net.onnx", "--shape", "x=1,3,a"], "argument --shape: must be NAME=1,3,224,224 with numbers of at "
                                                     "least 1, not 'x=1,3,a'"),
    (["compile", "net.onnx", "--shape", "1,3,4"], "must be NAME=1,3,224,224 with numbers of at least 1, not '1,3,4'"),
    (["fly"], "invalid choice: 'fly'"),
])
def test_bad_arguments(arguments, text, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == EXIT_USER_ERROR
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "text"), [
    (["compile", "none.tflite"], "none.tflite"),
    (["run", "none.lepton", "--input", "x.npy"], "lepton: none.lepton: cannot be read: No such file or directory"),
    (["cloud", "status", "--spool", "none.db"], "lepton: none.db: there is no such spool"),
    (["cloud", "verify", "none"], "lepton: none: there is no such folder; give the folder or URL of a store with "
                                  "results"),
    (["results", "list", "--store", "none"], "lepton: none: there is no such folder"),
    (["results", "list", "--store", ".", "--keys", "none.pem"], "lepton: cannot read the keys none.pem"),
    (["cloud", "status"], "lepton: there is no spool at build/spool.db or"),
])
def test_user_errors_are_one_line(arguments, text, capsys, tmp_path):
    assert main(arguments) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert text in error and error.count("\n") == 1
    with pytest.raises(Exception, match=r"none|no spool"):
        main(["--debug", *arguments])
    assert list(tmp_path.iterdir()) == []  # and nothing was made


def test_a_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr("lepton.cli.cloud.run", lambda arguments: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        main(["cloud", "status"])


def test_ctrl_c_and_missing_packages(monkeypatch, capsys):
    def raising(error):
        def run(arguments):
            raise error
        return run

    monkeypatch.setattr("lepton.cli.cloud.run", raising(KeyboardInterrupt()))
    assert main(["cloud", "status"]) == EXIT_INTERRUPTED
    assert capsys.readouterr().err == "\nlepton: interrupted\n"
    monkeypatch.setattr("lepton.cli.cloud.run", raising(ModuleNotFoundError("No module", name="apsw")))
    assert main(["cloud", "status"]) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert "lepton: the package 'apsw' is missing; install it with: pip install 'lepton-chip[" in error


def test_cloud_status(tmp_path, capsys):
    with Spool(tmp_path / "build" / "spool.db", device="bench-7") as spool:
        spool.append_many("run", [{}] * 1234)
        with Uploader(spool, Store(tmp_path / "build"), DeviceKeys.generate()) as uploader:
            assert uploader.flush(20)
        spool.append_many("run", [{}] * 5, first=1230)
    assert main(["cloud", "status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("bench-7" in line for line in lines)
    assert any("build/spool.db" in line for line in lines)
    counts = {name: line.split(name)[1].strip() for line in lines for name in
              ("waiting", "stored", "duplicates, ignored") if line.startswith(name)}
    assert counts == {"waiting": "1", "stored": "1 234", "duplicates, ignored": "4"}
