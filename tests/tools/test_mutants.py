"""The tool that plants faults: what counts as killed, which results are known, and that every fault can be planted."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("mutants", ROOT / "tools" / "mutants.py")
mutants = importlib.util.module_from_spec(SPEC)
sys.modules["mutants"] = mutants  # dataclasses look their module up
SPEC.loader.exec_module(mutants)
TESTS = ("tests/test_adder.py::test_sum",)
FAULT = mutants.Mutant("adder.py", "a + b", "a - b", TESTS)


@pytest.fixture
def tree(tmp_path):
    """Sources with one file, its test, and a module that the test imports."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "adder.py").write_text("def add(a, b):\n    return a + b\n")
    (tmp_path / "tests" / "helper.py").write_text("CASES = [(1, 2, 3)]\n")
    (tmp_path / "tests" / "unused.py").write_text("")
    (tmp_path / "tests" / "test_adder.py").write_text(
        "from adder import add\nfrom tests.helper import CASES\n\n\ndef test_sum():\n"
        "    assert all(add(a, b) == total for a, b, total in CASES)\n")
    return tmp_path


def test_every_fault_can_be_planted():
    """A change of the sources that a fault's text depends on must change the list, too."""
    assert len(mutants.read_lists()) > 200


@pytest.mark.parametrize("returncode, output, outcome", [
    (0, "1 passed", "survives"),
    (1, "short test summary info\nFAILED tests/test_a.py::test_b - AssertionError", "killed"),
    (1, "short test summary info\nFAILED a - Failed: the simulator stopped without results (1)", "broken"),
    (1, "....", "killed"),  # a sanitizer has ended the process
    (1, "x.c:3: runtime error: shift exponent", "killed"),
    (-11, "", "killed"),
    (2, "short test summary info\nERROR tests/test_a.py - SyntaxError", "broken"),
    (4, "file or directory not found", "broken"),
    (1, "", "broken"),
])
def test_what_the_tests_say_about_a_fault(returncode, output, outcome):
    assert mutants.judge(returncode, output)[0] == outcome


def test_a_planted_fault_is_noticed_and_taken_out_again(tree, monkeypatch):
    monkeypatch.setattr(mutants, "ROOT", tree)
    subprocess.run(["git", "init", "-q"], cwd=tree, check=True)
    workshop = mutants.Workshop(tree / "work")
    assert mutants.run_tests(workshop.tree, TESTS, workshop.build).outcome == "survives"
    assert workshop.plant(FAULT).outcome == "killed"
    assert (workshop.tree / "adder.py").read_text() == (tree / "adder.py").read_text()


@pytest.mark.parametrize("path, same", [
    ("adder.py", False), ("tests/test_adder.py", False), ("tests/helper.py", False), ("tests/unused.py", True)])
def test_a_result_is_known_until_the_file_or_its_tests_change(tree, path, same):
    before = mutants.key_of(tree, FAULT)
    (tree / path).write_text((tree / path).read_text() + "# changed\n")
    assert (mutants.key_of(tree, FAULT) == before) == same


def test_results_are_kept(tree, monkeypatch):
    monkeypatch.setattr(mutants, "RESULTS", tree / "results" / "results.jsonl")
    assert mutants.known_results() == {}
    mutants.keep_result("key", FAULT, mutants.Result("survives", "", 1.0))
    mutants.keep_result("key", FAULT, mutants.Result("killed", "test_sum", 2.0))  # with --fresh
    assert mutants.known_results() == {"key": mutants.Result("killed", "test_sum", 2.0)}


def test_the_report_fails_unless_every_fault_is_killed(capsys):
    other = mutants.Mutant("adder.py", "a", "b", TESTS)
    killed = mutants.Result("killed", "", 1.0)
    assert mutants.report([FAULT, other], {FAULT: killed, other: killed}) == 0
    assert mutants.report([FAULT, other], {FAULT: killed}) == 1
    assert "1 of 2 planted faults were killed\nnot tried: adder.py: a  ->  b" in capsys.readouterr().out
    assert mutants.report([FAULT, other], {FAULT: killed, other: mutants.Result("survives", "", 1.0)}) == 1
    assert "survives: adder.py: a  ->  b" in capsys.readouterr().out
