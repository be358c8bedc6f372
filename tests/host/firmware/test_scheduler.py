"""The firmware's scheduler on this machine: random streams against a model, under the sanitizers, and single cases."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.host.firmware import firmware_host
from tests.host.firmware.scheduler_cases import CASES
from tests.seeds import seeds

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="the host build of the firmware needs gcc")

@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return firmware_host.build(tmp_path_factory.mktemp("firmware"))


def run(*arguments):
    """Python with the address sanitizer's library in front, as the firmware's library needs it."""
    asan = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    environment = os.environ | {"LD_PRELOAD": asan, "ASAN_OPTIONS": "detect_leaks=0",
                                "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("seed", seeds(0))
def test_random_streams_of_eight_clients_agree_with_the_model(library, seed):
    count = 12 if seed == 0 else 4
    done = run("-m", "tests.host.firmware.random_streams", str(library), str(seed), str(seed + count))
    assert done.returncode == 0 and "streams agree" in done.stdout, done.stderr[-3000:]


@pytest.mark.parametrize("case", CASES)
def test_cases(library, case):
    done = run("-m", "tests.host.firmware.scheduler_cases", str(library), case)
    assert done.returncode == 0, done.stderr[-3000:]
