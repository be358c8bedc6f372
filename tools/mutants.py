"""Plants faults one by one in a copy of the sources and runs the tests that must notice them: `make mutants`.

    python tools/mutants.py                    every fault
    python tools/mutants.py validate dma/load  those in files whose path contains one of the words
    python tools/mutants.py --list             only check that every fault can still be planted
    python tools/mutants.py --report           the known results, run nothing
    python tools/mutants.py --fresh            run also the faults whose result is known

The faults are in tests/mutants/*.toml. A group has one `file`, the `tests` that must notice its faults (arguments of
pytest), and `mutants`, pairs of texts: the first occurs once in the file and is replaced by the second. Pairs in
`equivalent` have a third text: why no test can notice them; they are not run.

A fault is *killed* when a test fails. It *survives* when all pass, *stalls* when they do not end, and is *broken*
when the tests cannot run at all. The command fails if any is not killed, or cannot be planted because the sources
have changed. Needs the environment of `make test`.

A run can be interrupted. Results are kept in build/mutants/results.jsonl, keyed by the text of the file, the fault,
and the texts of its tests with every module under tests/ that they import. A later run tries only the faults that
have no result under their key. Changes elsewhere (another source file, a package) do not change the key: `--fresh`
ignores the known results.
"""

import argparse
import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parents[1]
LISTS = ROOT / "tests" / "mutants"
RESULTS = ROOT / "build" / "mutants" / "results.jsonl"
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


@dataclass(frozen=True)
class Result:
    """What the tests said about one fault."""

    outcome: str  # killed, survives, stalls or broken
    text: str  # the first failure, or the end of the output
    seconds: float


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 90 else text[:87] + "..."


def read_lists(root: Path = ROOT) -> list[Mutant]:
    """Every fault that is to be killed. Raises `ValueError` where one cannot be planted, naming all of them."""
    mutants: list[Mutant] = []
    stale: list[str] = []
    for path in sorted((root / LISTS.relative_to(ROOT)).glob("*.toml")):
        for group in tomllib.loads(path.read_text())["group"]:
            text = (root / group["file"]).read_text()
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


def test_modules(root: Path, tests: tuple[str, ...]) -> list[Path]:
    """The files of these tests and every module under tests/ that they import, directly or not; sorted."""
    found: set[Path] = set()
    waiting = [root / test.partition("::")[0] for test in tests]
    while waiting:
        path = waiting.pop()
        if path.is_dir():
            waiting += path.rglob("*.py")
        elif path.is_file() and path not in found:
            found.add(path)
            for node in ast.walk(ast.parse(path.read_text())):
                names: list[str] = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module is not None:
                    names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                waiting += [root / f"{name.replace('.', '/')}.py" for name in names if name.startswith("tests.")]
    return sorted(found)


def key_of(root: Path, mutant: Mutant) -> str:
    """The key under which the result of this fault is kept."""
    hashed = hashlib.sha256()
    texts = [path.read_text() for path in test_modules(root, mutant.tests)]
    for text in (mutant.file, (root / mutant.file).read_text(), mutant.old, mutant.new, *mutant.tests, *texts):
        hashed.update(f"{len(text)}:{text}".encode())
    return hashed.hexdigest()


def known_results() -> dict[str, Result]:
    """The results of earlier runs by their keys."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    entries = [json.loads(line) for line in lines]
    return {entry["key"]: Result(entry["outcome"], entry["text"], entry["seconds"]) for entry in entries}


def keep_result(key: str, mutant: Mutant, result: Result) -> None:
    """Append the result to the file of results."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    entry = {"key": key, "fault": str(mutant), "outcome": result.outcome, "text": result.text,
             "seconds": round(result.seconds, 1)}
    with RESULTS.open("a") as file:
        file.write(json.dumps(entry) + "\n")


def run_tests(folder: Path, tests: tuple[str, ...], build: Path) -> Result:
    """Run the tests on the sources in `folder`; models are built under `build`."""
    paths = [str(folder / part) for part in ("host", "hdl", "sim")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "LEPTON_BUILD": str(build),
                                "LEPTON_OPTIMIZE": "-O0", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    began = time.monotonic()
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return Result("stalls", f"no end after {LIMIT} s", time.monotonic() - began)
    outcome, text = judge(done.returncode, done.stdout + done.stderr)
    return Result(outcome, text, time.monotonic() - began)


def judge(returncode: int, output: str) -> tuple[str, str]:
    """Outcome and text from what pytest has returned and printed."""
    if returncode == 0:
        return "survives", ""
    if returncode < 0:  # a fault in C that the sanitizer or the processor has stopped
        return "killed", f"the tests were ended by signal {-returncode}"
    if "runtime error:" in output:  # the undefined-behaviour sanitizer ends the process
        return "killed", "by the sanitizer"
    if returncode == 1 and output and "short test summary info" not in output:  # it has ended pytest's process, too
        return "killed", "the tests were ended in the middle, as by the sanitizer"
    failed = re.search(r"^FAILED (.*)$", output, re.MULTILINE)
    if returncode == 1 and failed and "simulator stopped without results" not in output:
        return "killed", _short(failed[1])
    return "broken", output[-TAIL:]


class Workshop:
    """One copy of the sources with the models built from it. Used by one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self.tree = folder / "tree"
        self.build = folder / "build"
        self.build.mkdir(parents=True)
        copy_sources(self.tree)

    def plant(self, mutant: Mutant) -> Result:
        """Plant the fault, run its tests, take the fault out again."""
        path = self.tree / mutant.file
        sound = path.read_text()
        path.write_text(sound.replace(mutant.old, mutant.new))
        try:
            return run_tests(self.tree, mutant.tests, self.build)
        finally:
            path.write_text(sound)


class Campaign:
    """Tries faults in parallel workshops and collects their results."""

    def __init__(self, workshops: list[Workshop], total: int) -> None:
        self._free: SimpleQueue[Workshop] = SimpleQueue()
        for workshop in workshops:
            self._free.put(workshop)
        self._total = total
        self._lock = threading.Lock()
        self.results: dict[Mutant, Result] = {}

    def note(self, mutant: Mutant, result: Result, origin: str) -> None:
        """Print and collect one result."""
        with self._lock:
            self.results[mutant] = result
            print(f"{len(self.results)}/{self._total} {result.outcome} {origin}  {mutant}  {result.text}", flush=True)

    def check_sound(self, tests: tuple[str, ...]) -> Result:
        """Run tests without a fault: one that fails then proves nothing."""
        workshop = self._free.get()
        try:
            return run_tests(workshop.tree, tests, workshop.build)
        finally:
            self._free.put(workshop)

    def try_fault(self, key: str, mutant: Mutant) -> None:
        """Plant one fault in a free workshop."""
        workshop = self._free.get()
        try:
            result = workshop.plant(mutant)
        finally:
            self._free.put(workshop)
        self.note(mutant, result, f"in {result.seconds:.0f} s")
        with self._lock:
            keep_result(key, mutant, result)


def report(mutants: list[Mutant], results: dict[Mutant, Result]) -> int:
    """Print faults by file and outcome, then each that is not killed; 1 if there is any, or one without a result."""
    for file in dict.fromkeys(mutant.file for mutant in mutants):
        own = [mutant for mutant in mutants if mutant.file == file]
        killed = sum(mutant in results and results[mutant].outcome == "killed" for mutant in own)
        print(f"{killed:4} of {len(own):4} killed  {file}")
    open_faults = [mutant for mutant in mutants if mutant not in results or results[mutant].outcome != "killed"]
    print(f"{len(mutants) - len(open_faults)} of {len(mutants)} planted faults were killed")
    for mutant in open_faults:
        print(f"{results[mutant].outcome if mutant in results else 'not tried'}: {mutant}")
    return int(bool(open_faults))


def run(mutants: list[Mutant], workers: int, fresh: bool) -> int:
    """Try the faults that have no result yet, group by group; the exit status."""
    with tempfile.TemporaryDirectory(prefix="lepton-mutants-") as temporary:
        workshops = [Workshop(Path(temporary) / str(number)) for number in range(workers)]
        tree = workshops[0].tree
        known = {} if fresh else known_results()
        keys = {mutant: key_of(tree, mutant) for mutant in mutants}
        campaign = Campaign(workshops, len(mutants))
        for mutant in mutants:
            if keys[mutant] in known:
                campaign.note(mutant, known[keys[mutant]], "(known)")
        waiting = [mutant for mutant in mutants if mutant not in campaign.results]
        for file, tests in dict.fromkeys((mutant.file, mutant.tests) for mutant in waiting):
            nothing = Mutant(file, "", "", tests)
            key = key_of(tree, nothing)
            sound = known[key] if key in known else campaign.check_sound(tests)
            if sound.outcome != "survives":
                print(f"{' '.join(tests)} must pass without a fault, but: {sound.outcome} {sound.text}", flush=True)
                return 1
            if key not in known:
                keep_result(key, nothing, sound)
            with ThreadPoolExecutor(workers) as pool:
                own = [mutant for mutant in waiting if (mutant.file, mutant.tests) == (file, tests)]
                list(pool.map(lambda mutant: campaign.try_fault(keys[mutant], mutant), own))
    return report(mutants, campaign.results)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("words", nargs="*", help="only faults in files whose path contains one of these")
    parser.add_argument("--list", action="store_true", help="show the faults, run nothing")
    parser.add_argument("--report", action="store_true", help="show the known results, run nothing")
    parser.add_argument("--fresh", action="store_true", help="run also the faults whose result is known")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="how many at a time (default: 1)")
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
    if arguments.report:
        known = known_results()
        keys = {mutant: key_of(ROOT, mutant) for mutant in mutants}
        return report(mutants, {mutant: known[key] for mutant, key in keys.items() if key in known})
    return run(mutants, max(arguments.workers, 1), arguments.fresh)


if __name__ == "__main__":
    sys.exit(main())
