"""The wheel, installed into an environment of its own: nothing of it may come from the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from lepton_sim.cache import build_root

ROOT = Path(__file__).parents[2]
PACKAGES = ("host/lepton", "hdl/lepton_hdl", "sim/lepton_sim")


def run(*arguments, **options):
    done = subprocess.run([str(argument) for argument in arguments], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=600, check=False, **options)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy: setuptools also packs what an earlier build has left in the source folder."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, source / name)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, source)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """`installed("lepton", ...)`: runs a program of an environment that has the wheel.

    The packages that Lepton needs are this environment's, by a path file. Path files in a folder that a path file
    names are not read, so that the editable installation of the checkout has no effect.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "venv", with_pip=False)
    library = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder / "venv")}))
    (library / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    python = folder / "venv" / "bin" / "python"
    run(sys.executable, "-m", "pip", f"--python={python}", "install", "-q", "--no-deps", "--no-index", wheel)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"LEPTON_BUILD": str(build_root()), "XDG_DATA_HOME": str(folder / "data")}

    def program(name, *arguments):
        return run(folder / "venv" / "bin" / name, *arguments, cwd=folder, env=environment)
    return program


def test_the_wheel_has_every_file_of_the_packages(wheel):
    tracked = {str(path.relative_to(ROOT / package).parent / path.name)
               for package in PACKAGES for path in (ROOT / package).rglob("*")
               if path.is_file() and "__pycache__" not in path.parts}
    with zipfile.ZipFile(wheel) as file:
        packed = {name.split("/", 1)[1] for name in file.namelist() if ".dist-info/" not in name}
    assert tracked - packed == set()


def test_modules_are_those_of_the_wheel(installed):
    out = installed("python", "-c", "import lepton, lepton_hdl, lepton_sim\n"
                    "for module in lepton, lepton_hdl, lepton_sim: print(*module.__path__)")
    assert str(ROOT) not in out and len(out.splitlines()) == 3


def test_compiler_and_golden_model(installed):
    installed("lepton", "models", "get", "mnist", "-o", "mnist.tflite")
    assert "for configuration tiny" in installed("lepton", "compile", "mnist.tflite", "-o", "net.lepton",
                                                 "--config", "tiny")
    out = installed("lepton", "sim", "--device", "golden", "--config", "tiny", "--images", "2")
    assert "2 of 2 images identical" in out


def test_board(installed):
    out = installed("lepton", "sim", "--device", "rtl", "--config", "tiny", "--images", "2")
    assert "2 of 2 images identical to the golden model" in out


def test_controller_with_the_image_that_the_wheel_carries(installed):
    """`lepton log` runs the network through the controller's firmware."""
    installed("lepton", "models", "get", "mnist", "-o", "again.tflite")
    out = installed("lepton", "log", "again.tflite", "--config", "tiny")
    assert "status DONE" in out and "error NONE" in out
