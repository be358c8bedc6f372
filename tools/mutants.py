"""Plants faults one by one in a copy of the sources and runs the tests that must notice them: `make mutants`.

    python tools/mutants.py                    every fault
    python tools/mutants.py validate dma/load  those in files whose path contains one of the words
    python tools/mutants.py --list             only check that every fault can still be planted

The faults are in tests/mutants/*.toml. A group has one `file`, the `tests` that must notice its faults (arguments of
pytest), and `mutants`, pairs of texts: the first occurs once in the file and is replaced by the second. Pairs in
`equivalent` have a third text: why no test can notice them; they are not run.

A fault is *killed* when a test fails. It *survives* when all pass, *stalls* when they do not end, and is *broken*
when the tests cannot run at all. The command fails if any is not killed, or cannot be planted because the sources
have changed. Needs the environment of `make test`.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LISTS = ROOT / "tests" / "mutants"
LIMIT = 900  # seconds for the tests of one fault; they take less than 60 on an idle machine
TAIL = 2000  # characters of output that are shown where tests cannot run


@dataclass(frozen=True)
class Mutant:
    """`new` in place of `old` in `file` (relative to the root) must make one of `tests` fail."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file}: {_short(self.old)}  ->  {_short(self.new) or 'nothing'}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 90 else text[:87] + "..."


def read_lists() -> list[Mutant]:
    """Every fault that is to be killed. Raises `ValueError` where one cannot be planted, naming all of them."""
    mutants: list[Mutant] = []
    stale: list[str] = []
    for path in sorted(LISTS.glob("*.toml")):
        for group in tomllib.loads(path.read_text())["group"]:
            text = (ROOT / group["file"]).read_text()
            pairs = group.get("mutants", [])
            for old, new, *_ in [*pairs, *group.get("equivalent", [])]:
                if text.count(old) != 1 or old == new:
                    stale.append(f"{path.name}: {group['file']} holds {text.count(old)} times {_short(old)!r}")
            mutants += [Mutant(group["file"], old, new, tuple(group["tests"])) for old, new in pairs]
    if stale:
        raise ValueError("these faults must be written anew, as the text to replace must occur once:\n"
                         + "\n".join(stale))
    return mutants


def copy_sources(folder: Path) -> None:
    """Everything that git knows or would know, so that a fault never touches the checkout."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, listed):
        source = ROOT / name
        if source.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)


def run_tests(folder: Path, tests: tuple[str, ...], build: Path) -> tuple[str, str]:
    """("killed", the first failure), ("survives", ""), ("stalls", "") or ("broken", the end of the output)."""
    paths = [str(folder / part) for part in ("host", "hdl", "sim")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "LEPTON_BUILD": str(build),
                                "LEPTON_OPTIMIZE": "-O0", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return "stalls", ""
    output = done.stdout + done.stderr
    if done.returncode == 0:
        return "survives", ""
    if done.returncode < 0:  # a fault in C that the sanitizer or the processor has stopped
        return "killed", f"the tests were ended by signal {-done.returncode}"
    if "runtime error:" in output:  # the undefined-behaviour sanitizer ends the process
        return "killed", "by the sanitizer"
    failed = re.search(r"^FAILED (.*)$", output, re.MULTILINE)
    if done.returncode == 1 and failed and "simulator stopped without results" not in output:
        return "killed", _short(failed[1])
    return "broken", output[-TAIL:]


def plant(mutant: Mutant, folder: Path, build: Path) -> tuple[str, str]:
    """Plant the fault in the copy, run its tests, take the fault out again."""
    path = folder / mutant.file
    sound = path.read_text()
    path.write_text(sound.replace(mutant.old, mutant.new))
    try:
        return run_tests(folder, mutant.tests, build)
    finally:
        path.write_text(sound)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("words", nargs="*", help="only faults in files whose path contains one of these")
    parser.add_argument("--list", action="store_true", help="show the faults, run nothing")
    arguments = parser.parse_args()
    try:
        mutants = read_lists()
    except ValueError as error:
        print(error)
        return 1
    words = arguments.words
    mutants = [m for m in mutants if not words or any(word in m.file for word in words)]
    if arguments.list:
        print(*mutants, f"{len(mutants)} faults", sep="\n")
        return 0
    survivors: list[str] = []
    with tempfile.TemporaryDirectory(prefix="lepton-mutants-") as temporary:
        folder, build = Path(temporary) / "tree", Path(temporary) / "build"
        copy_sources(folder)
        build.mkdir()
        for tests in dict.fromkeys(m.tests for m in mutants):  # a test that fails without a fault proves nothing
            outcome, text = run_tests(folder, tests, build)
            if outcome != "survives":
                print(f"{' '.join(tests)} must pass without a fault, but: {outcome} {text}")
                return 1
        for number, mutant in enumerate(mutants, 1):
            began = time.monotonic()
            outcome, text = plant(mutant, folder, build)
            seconds = f"{time.monotonic() - began:.0f} s"
            print(f"{number}/{len(mutants)} {outcome} in {seconds}  {mutant}  {text}", flush=True)
            if outcome != "killed":
                survivors.append(f"{outcome}: {mutant}")
    print(f"{len(mutants) - len(survivors)} of {len(mutants)} planted faults were killed")
    if survivors:
        print(*survivors, sep="\n")
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main())
