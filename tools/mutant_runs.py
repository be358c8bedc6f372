"""Runs tests on a copy of the sources, with and without a fault in it. See tools/mutants.py."""

import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from mutant_lists import REASON, ROOT, Mutant, Result, short

LIMIT = 900  # seconds for the tests of one fault; they take less than 60 on an idle machine
SANITIZER = 99  # exit status of a process that a sanitizer of the firmware's C ends
TAIL = 2000  # characters of output that are shown where tests cannot run
# Reading packages takes longer than most tests: a server reads these once, and each run is a fork of it. None of them
# may import a module of this repository, which is read from the copy with the fault.
PRELOADED = ["pytest", "_pytest.assertion.rewrite", "hypothesis", "numpy", "amaranth.hdl", "amaranth.lib.wiring",
             "amaranth.lib.memory", "amaranth.back.verilog", "cocotb", "cocotb_tools.runner", "cocotb.triggers"]
# Half of what the tests of a block would take otherwise: the messages of benches do without the values of both sides,
# the model is compiled as one file, and the first cocotb test that fails is the last of its module.
QUICK = {"COCOTB_REWRITE_ASSERTION_FILES": "", "LEPTON_OPTIMIZE": "-O0", "COCOTB_MAX_FAILURES": "1"}


def copy_sources(folder: Path) -> None:
    """Everything that git knows or would know, so that a fault never touches the checkout."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, listed):
        source = ROOT / name
        if source.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)


def _pytest(folder: Path, output: Path, environment: dict[str, str], tests: tuple[str, ...]) -> None:
    """The process of one run: pytest in `folder`, all output in the file `output`."""
    os.setpgrp()  # so that one signal ends the simulators, too
    with output.open("wb") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[0:0] = [str(folder), *environment["PYTHONPATH"].split(os.pathsep)]
    sys.pycache_prefix = environment["PYTHONPYCACHEPREFIX"]
    sys.dont_write_bytecode = False
    import pytest  # here, as the tool itself does without it

    sys.exit(pytest.main(["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]))


def run_tests(folder: Path, tests: tuple[str, ...], build: Path) -> Result:
    """Run the tests on the sources in `folder`; models are built under `build`."""
    paths = [str(folder / part) for part in ("host", "hdl", "sim")]
    environment = {"PYTHONPATH": os.pathsep.join(paths), "LEPTON_BUILD": str(build), "PYTHONDONTWRITEBYTECODE": "",
                   "PYTHONPYCACHEPREFIX": str(folder.parent / "bytecode"),
                   "COLUMNS": "400",  # of pytest's summary, which names the failure
                   **QUICK}
    output = folder.parent / "output.txt"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    # Sanitizers read the environment with which a process began: that of the server, which the first run starts.
    os.environ.update({f"{name}_OPTIONS": f"exitcode={SANITIZER}" for name in ("ASAN", "UBSAN")})
    process = context.Process(target=_pytest, args=(folder, output, environment, tests))
    began = time.monotonic()
    process.start()
    process.join(LIMIT)
    seconds = time.monotonic() - began
    if process.exitcode is None and process.pid is not None:
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
        return Result("stalls", f"no end after {LIMIT} s", seconds)
    outcome, text = judge(process.exitcode or 0, output.read_text(errors="replace"))
    return Result(outcome, text, seconds)


def judge(returncode: int, output: str) -> tuple[str, str]:
    """Outcome and text from what pytest has returned and printed."""
    if returncode == 0:
        return "survives", ""
    if returncode < 0:  # a fault in C that the processor has stopped
        return "killed", f"the tests were ended by signal {-returncode}"
    if returncode == SANITIZER:
        return "killed", "by the sanitizer, which has ended the tests"
    failed = re.search(r"^FAILED (.*)$", output, re.MULTILINE)
    if returncode == 1 and failed and "simulator stopped without results" not in output:
        test, dash, reason = failed[1].partition(" - ")
        return "killed", test + dash + short(reason, REASON)
    return "broken", output[-TAIL:]


class Workshop:
    """One copy of the sources with the models built from it. Used by one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self.tree = folder / "tree"
        self.build = folder / "build"
        self.build.mkdir(parents=True)
        for shared in ("headers", "runtime"):  # what is the same for every model
            (ROOT / "build" / shared).mkdir(parents=True, exist_ok=True)
            (self.build / shared).symlink_to(ROOT / "build" / shared)
        copy_sources(self.tree)

    def check(self, tests: tuple[str, ...]) -> Result:
        """Run tests without a fault; the models are kept, as later runs need them again."""
        return run_tests(self.tree, tests, ROOT / "build")

    def plant(self, mutant: Mutant, killer: str = "") -> Result:
        """Plant the fault, run its tests (first `killer`, which has noticed it before), take the fault out again."""
        path = self.tree / mutant.file
        sound = path.read_text()
        path.write_text(sound.replace(mutant.old, mutant.new))
        first = [test for test in mutant.tests if killer and (killer + "::").startswith(test + "::")]
        rest = [test for test in mutant.tests if test not in first]
        try:
            return run_tests(self.tree, (*first, *rest), self.build)
        finally:
            path.write_text(sound)
            shutil.rmtree(self.build / "cocotb", ignore_errors=True)  # no other fault makes the same model
