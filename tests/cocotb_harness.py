"""Runs cocotb tests of one Amaranth block inside a pytest function.

    # tests/hdl/tensor/test_window.py
    from tests.cocotb_harness import parameters, run_cocotb

    @cocotb.test(timeout_time=100, timeout_unit="us")
    async def every_width(dut):                # not named test_..., so that pytest leaves it alone
        Clock(dut.clk, 10, unit="ns").start()
        lanes = parameters()["lanes"]
        ...

    @pytest.mark.parametrize("lanes", [4, 16])
    def test_window(lanes):
        run_cocotb(WindowUnit(SMALL[lanes]), f"window{lanes}", __name__, parameters={"lanes": lanes})

The block is Verilated once for every Verilog text; pytest-xdist workers share the result. Tests see the signals of the
top module, its ports among them, and those of all modules with `internals=True`: Verilator cannot simplify what a test
may read, so such a model takes four times as long to compile. `LEPTON_SEED` sets the random seed (cocotb seeds
`random`; see `tests.seeds`), `WAVES=1` keeps a VCD, `LEPTON_OPTIMIZE=-O0` builds models that are used once faster, as
`tools/mutants.py` does.
"""

import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import cocotb
import cocotb_tools.config
import pytest
from amaranth.lib import wiring
from cocotb_tools.runner import get_runner
from lepton_sim.cache import build_root, digest, making_folder
from lepton_sim.compile import (
    Flags,
    link,
    runtime_objects,
    unity_objects,
    verilate,
)
from lepton_sim.verilog import generate

from tests.seeds import base_seed

_ROOT = Path(__file__).resolve().parents[1]
# pytest's assertions with the values of both sides, in the tests only: cocotb would read all of numpy and Amaranth so.
_ASSERTIONS = {"COCOTB_REWRITE_ASSERTION_FILES": os.environ.get("COCOTB_REWRITE_ASSERTION_FILES", "tests/*.py")}


def parameters() -> dict:
    """In a cocotb test: the `parameters` that `run_cocotb` was given."""
    return json.loads(os.environ.get("LEPTON_TEST_PARAMETERS", "{}"))


def run_cocotb(component: wiring.Component, name: str, test_module: str, *, parameters: dict | None = None,
               env: dict[str, str] | None = None, waves: bool = False, seed: int | None = None,
               testcase: str | None = None, internals: bool = False) -> int:
    """Run the cocotb tests of a module on `component`; the number of tests that passed.

    `name` becomes the Verilog module. `test_module` is a dotted name ("tests.hdl.dma.cocotb_align")
    or `__name__` of the calling test file. `parameters` (JSON values) reach the tests through
    `parameters()`, `env` through the environment. `testcase` runs only tests with that name. With `internals`
    the tests may access signals below the top module.

    Fails the pytest test where any cocotb test fails or none ran.
    """
    run = _simulate(component, name, test_module, parameters, env, waves, seed, testcase, internals)
    if run.problems or run.stopped is not None or not run.passed:
        reasons = [f"{case}: {message}" for case, message in run.problems.items()] or [run.why_nothing_ran()]
        print(run.text[-20_000:])
        pytest.fail(f"cocotb {test_module} on {name}, seed {run.seed}: " + "; ".join(reasons), pytrace=False)
    return run.passed


def failing_cocotb(component: wiring.Component, name: str, test_module: str, *, parameters: dict | None = None,
                   testcase: str | None = None) -> dict[str, str]:
    """Run cocotb tests of which each must fail, because of an error planted for it; their messages by name.

    Arguments as for `run_cocotb`. Fails the pytest test where any cocotb test passes or none ran.
    """
    every = {"COCOTB_MAX_FAILURES": "0"}
    run = _simulate(component, name, test_module, parameters, every, False, None, testcase, False)
    if run.passed or not run.problems:
        print(run.text[-20_000:])
        pytest.fail(f"cocotb {test_module} on {name}, seed {run.seed}: of {run.passed + len(run.problems)} planted "
                    f"errors {run.passed} were not noticed", pytrace=False)
    shutil.rmtree(run.folder, ignore_errors=True)
    return run.problems


@dataclass(frozen=True)
class _Run:
    """What a simulation said."""

    test_module: str
    folder: Path  # with the log
    seed: int
    passed: int
    problems: dict[str, str]  # message of each test that failed
    text: str  # of the log
    finished: bool  # it has written results
    stopped: Exception | SystemExit | None  # by which the runner was stopped

    def why_nothing_ran(self) -> str:
        """The reason where neither a test passed nor one failed."""
        if self.finished or "No tests were discovered" in self.text:
            return f"no cocotb test ran; does {self.test_module} hold functions marked @cocotb.test()?"
        return f"the simulator stopped without results ({self.stopped}); its output is above"


def _simulate(component: wiring.Component, name: str, test_module: str, parameters: dict | None,
              env: dict[str, str] | None, waves: bool, seed: int | None, testcase: str | None,
              internals: bool) -> _Run:
    """Build the model if it is not there, and run the tests on it."""
    waves = waves or os.environ.get("WAVES", "0") not in ("", "0")
    seed = base_seed() if seed is None else seed
    model = build_model(component, name, waves=waves, internals=internals)
    runs = model.parent / "runs"
    runs.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{model.name}-{test_module.rpartition('.')[2]}-", dir=runs))
    log = folder / "log.txt"
    results = folder / "results.xml"
    print(f"cocotb: {test_module} on {name}, seed {seed} (repeat with LEPTON_SEED={seed}), log {log}")

    # By the environment rather than by a path in the program: checkouts with environments of their own share models.
    libraries = os.pathsep.join(filter(None, [str(cocotb_tools.config.libs_dir), os.environ.get("LD_LIBRARY_PATH")]))
    extra = {**_ASSERTIONS, **(env or {}), "LEPTON_TEST_PARAMETERS": json.dumps(parameters or {}),
             "LD_LIBRARY_PATH": libraries}
    if str(_ROOT) not in sys.path:  # the runner hands our sys.path to the simulator's Python
        sys.path.append(str(_ROOT))
    stopped: Exception | SystemExit | None = None
    try:
        _runner().test(test_module=_importable(test_module), hdl_toplevel=name, build_dir=model, test_dir=folder,
                       hdl_toplevel_lang="verilog", seed=seed, testcase=testcase, extra_env=extra, waves=waves,
                       log_file=log, results_xml=str(results))
    except (SystemExit, RuntimeError) as error:
        stopped = error
    passed, problems = _verdict(results)
    run = _Run(test_module, folder, seed, passed, problems, log.read_text() if log.exists() else "", results.exists(),
               stopped)
    if waves:
        print(f"waves: {folder / 'dump.vcd'}")
    elif not problems and stopped is None and passed:
        shutil.rmtree(folder)
    return run


def _verdict(results: Path) -> tuple[int, dict[str, str]]:
    """How many tests passed, and the message of each that did not."""
    if not results.exists():
        return 0, {}
    passed = 0
    problems: dict[str, str] = {}
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        bad = [element for element in case if element.tag in ("failure", "error")]
        if bad:
            message = bad[0].get("message") or bad[0].get("error_msg") or "failed"
            problems[case.get("name", "")] = message
        elif case.find("skipped") is None:
            passed += 1
    return passed, problems


def _runner():
    runner = get_runner("verilator")
    runner.log.setLevel("WARNING")
    return runner


def _importable(module: str) -> str:
    """The dotted name by which the simulator's Python can import a test file of this tree."""
    if "." in module:
        return module
    matches = list((_ROOT / "tests").rglob(f"{module}.py"))
    if len(matches) != 1:
        raise ValueError(f"test_module must name one file under tests, not {module!r} ({len(matches)} found); "
                         "give the dotted name, as in tests.hdl.dma.test_align")
    return ".".join(matches[0].relative_to(_ROOT).with_suffix("").parts)


def build_model(component: wiring.Component, name: str, *, waves: bool = False, internals: bool = False) -> Path:
    """The folder with the simulator program of `component`, named `name`; built if it is not there.

    `internals`: tests may access the signals of all modules, not only those of the top module.
    """
    verilog = generate(component, name)
    share = cocotb_tools.config.share_dir
    libraries = cocotb_tools.config.libs_dir
    optimize = os.environ.get("LEPTON_OPTIMIZE", "-O1")
    public = ["--public-flat-rw"] if internals else ["--public-depth", "1"]
    flags = Flags(verilator=("--vpi", *public, *(["--trace"] if waves else [])), optimize=(optimize,))
    main = share / "lib" / "verilator" / "verilator.cpp"
    key = digest(verilog, flags.key, cocotb.__version__, main.read_bytes())
    final = build_root() / "cocotb" / f"{name}-{key}"
    with making_folder(final) as folder:
        if folder is not None:
            generated = verilate(verilog, name, folder, flags)
            objects = unity_objects(generated, flags, [main], ("verilated.h", "verilated_vpi.h"))
            link([*objects, *runtime_objects(generated, flags)], folder / name,
                 [f"-L{libraries}", "-lcocotbvpi_verilator"])
            for leftover in [*folder.glob("*.o"), *folder.glob("*.cpp"), *folder.glob("*.gch")]:
                leftover.unlink()
    return final
