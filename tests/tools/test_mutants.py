"""The tool that plants faults: what counts as killed, which results are known, and that every fault can be planted."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tools"))
mutant_lists = importlib.import_module("mutant_lists")
mutant_runs = importlib.import_module("mutant_runs")
mutants = importlib.import_module("mutants")
TESTS = ("tests/test_adder.py::test_sum",)
FAULT = mutant_lists.Mutant("adder.py", "a + b", "a - b", TESTS)


@pytest.fixture
def tree(tmp_path):
    """Sources with one file, its test, and a module that the test imports."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "adder.py").write_text("def add(a, b):\n    return a + b\n")
    (tmp_path / "tests" / "helper.py").write_text("CASES = [(1, 2, 3)]\n")
    for name in ("__init__.py", "unused.py"):
        (tmp_path / "tests" / name).write_text("")
    (tmp_path / "tests" / "test_adder.py").write_text(
        "from adder import add\nfrom tests.helper import CASES\n\n\ndef test_sum():\n"
        "    assert all(add(a, b) == total for a, b, total in CASES)\n")
    return tmp_path


def test_every_fault_can_be_planted():
    """A change of the sources that a fault's text depends on must change the list, too."""
    assert len(mutant_lists.read_lists()) > 200


def test_words_choose_files():
    """A fault elsewhere that cannot be planted does not keep these from being tried."""
    chosen = mutant_lists.read_lists(words=["lepton_hdl/bounds"])
    assert {fault.file for fault in chosen} == {"hdl/lepton_hdl/bounds.py"}


@pytest.mark.parametrize("returncode, output, outcome", [
    (0, "1 passed", "survives"),
    (1, "short test summary info\nFAILED tests/test_a.py::test_b - AssertionError", "killed"),
    (1, "short test summary info\nFAILED a - Failed: the simulator stopped without results (1)", "broken"),
    (99, "....", "killed"),  # a sanitizer has ended the process
    (1, "Traceback (most recent call last):", "broken"),
    (-11, "", "killed"),
    (2, "short test summary info\nERROR tests/test_a.py - SyntaxError", "broken"),
    (4, "file or directory not found", "broken"),
    (1, "", "broken"),
])
def test_what_the_tests_say_about_a_fault(returncode, output, outcome):
    assert mutant_runs.judge(returncode, output)[0] == outcome


def test_a_planted_fault_is_noticed_and_taken_out_again(tree, monkeypatch):
    monkeypatch.setattr(mutant_runs, "ROOT", tree)
    subprocess.run(["git", "init", "-q"], cwd=tree, check=True)
    workshop = mutant_runs.Workshop(tree / "work")
    assert mutant_runs.run_tests(workshop.tree, TESTS, workshop.build).outcome == "survives"
    assert workshop.plant(FAULT).outcome == "killed"
    assert (workshop.tree / "adder.py").read_text() == (tree / "adder.py").read_text()


@pytest.mark.parametrize("text, same", [("changed = 1\n", False), ("# a comment\n", True)])
@pytest.mark.parametrize("path, known", [
    ("adder.py", True), ("tests/test_adder.py", True), ("tests/helper.py", True), ("tests/unused.py", False)])
def test_a_result_is_known_until_the_code_of_the_file_or_its_tests_changes(tree, path, known, text, same):
    before = mutant_lists.key_of(tree, FAULT)
    (tree / path).write_text((tree / path).read_text() + text)
    assert (mutant_lists.key_of(tree, FAULT) == before) == (same or not known)


@pytest.mark.parametrize("suffix, text, same", [
    (".py", 'def f():\n    """Other words."""\n    return 1  # why\n', True),
    (".py", "def f():\n    return 2\n", False),
    (".py", 'def f():\n    """Words."""\n    return 1\n\n\nX = "a text"\n', False),
])
def test_comments_docstrings_and_layout_are_no_code(suffix, text, same):
    code = mutant_lists.code_of('def f():\n    """Words."""\n    return 1\n', suffix)
    assert (mutant_lists.code_of(text, suffix) == code) == same


def test_comments_of_c_are_no_code():
    assert mutant_lists.code_of("int a; /* one\n two */\nint b; // three\n", ".c") == "int a; int b;"


def test_a_fault_whose_text_or_test_is_gone_is_an_error(tree):
    folder = tree / "tests" / "mutants"
    folder.mkdir()
    (folder / "list.toml").write_text("""
[[group]]
file = "adder.py"
tests = ["tests/test_adder.py", "tests/test_gone.py::test_sum"]
mutants = [["a + b", "a - b"], ["a * b", "a"], ["return", "return"]]
equivalent = [["b + a", "a", "reason"]]

[[group]]
file = "gone.py"
tests = ["tests/test_adder.py"]
mutants = [["a", "b"]]
""")
    with pytest.raises(ValueError) as caught:
        mutant_lists.read_lists(tree)
    assert str(caught.value).splitlines()[1:] == [
        "list.toml: adder.py names a test that is not there: tests/test_gone.py::test_sum",
        "list.toml: adder.py holds 0 times 'a * b'",
        "list.toml: adder.py holds 1 times 'return'",
        "list.toml: adder.py holds 0 times 'b + a'",
        "list.toml: gone.py holds 0 times 'a'"]


def test_the_test_that_has_killed_a_fault_is_known(tree, monkeypatch):
    monkeypatch.setattr(mutant_lists, "RESULTS", tree / "results.jsonl")
    mutant_lists.keep_result("old key", FAULT, mutant_lists.Result("killed", "tests/test_adder.py::test_sum - no", 1.0))
    assert mutant_lists.known_killers() == {str(FAULT): "tests/test_adder.py::test_sum"}
    mutant_lists.keep_result("new key", FAULT, mutant_lists.Result("survives", "", 1.0))
    assert mutant_lists.known_killers() == {}


def test_results_are_kept(tree, monkeypatch):
    monkeypatch.setattr(mutant_lists, "RESULTS", tree / "results" / "results.jsonl")
    assert mutant_lists.known_results() == {}
    mutant_lists.keep_result("key", FAULT, mutant_lists.Result("survives", "", 1.0))
    mutant_lists.keep_result("key", FAULT, mutant_lists.Result("killed", "test_sum", 2.0))  # with --fresh
    assert mutant_lists.known_results() == {"key": mutant_lists.Result("killed", "test_sum", 2.0)}


def test_the_report_fails_unless_every_fault_is_killed(capsys):
    other = mutant_lists.Mutant("adder.py", "a", "b", TESTS)
    killed = mutant_lists.Result("killed", "", 1.0)
    assert mutants.report([FAULT, other], {FAULT: killed, other: killed}) == 0
    assert mutants.report([FAULT, other], {FAULT: killed}) == 1
    assert "1 of 2 planted faults were killed\nnot tried: adder.py: a  ->  b" in capsys.readouterr().out
    assert mutants.report([FAULT, other], {FAULT: killed, other: mutant_lists.Result("survives", "", 1.0)}) == 1
    assert "survives: adder.py: a  ->  b" in capsys.readouterr().out
