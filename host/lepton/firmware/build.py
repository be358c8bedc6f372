"""Compiles the controller's firmware. `python -m lepton.firmware.build` compiles it into the package.

The package ships with the compiled programs (`shipped`), so a C compiler is needed only after a change of the sources.
The compiler is PyPI's `ziglang`; results are kept in `build/firmware`, keyed by sources and compiler, complete or
absent.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..arch.controller import CODE_BASE, DATA_BASE, DATA_BYTES, ROM_BASE
from . import shipped
from .program import FirmwareProgram

PT_LOAD = 1  # type of the ELF segments that are loaded into memory

TARGET = ("-target", "riscv32-freestanding-none", "-mcpu=generic_rv32")  # RV32I, as the processor is built
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes",
            "-Wundef", "-Wcast-align", "-Wvla", "-Wunused-result")
OPTIONS = ("-std=c11", "-ffreestanding", "-nostdlib", "-fno-builtin", "-fno-stack-protector", "-ffunction-sections",
           f"-DSTACK_TOP={DATA_BASE + DATA_BYTES:#x}")
PROGRAMS = {"rom": ("rom", "dif"), "app": ("app", "dif")}
OPTIMIZE = {"rom": "-Os", "app": "-Os"}  # -O2 is larger and, on a core without caches, no faster


class BuildError(RuntimeError):
    """The compiler is missing, or refused the sources."""


def sources() -> Path | None:
    """The folder firmware/ of this source tree; None in an installed package."""
    folder = Path(__file__).resolve().parents[3] / "firmware"
    return folder if folder.is_dir() else None


def build_root() -> Path:
    """The folder for built files: $LEPTON_BUILD, or `build/` of the checkout, or the user's cache folder."""
    if folder := os.environ.get("LEPTON_BUILD"):
        return Path(folder).absolute()
    top = sources()
    if top is not None:
        return top.parent / "build"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lepton"


def sources_digest() -> str | None:
    """A digest of the sources and the compiler's options; None in an installed package."""
    top = sources()
    if top is None:
        return None
    total = hashlib.sha256(repr((TARGET, WARNINGS, OPTIONS, PROGRAMS, OPTIMIZE)).encode())
    for path in sorted(p for p in top.rglob("*") if p.suffix in (".c", ".h", ".S", ".ld")):
        total.update(str(path.relative_to(top)).encode() + path.read_bytes())
    return total.hexdigest()


def key() -> str:
    """A digest of the compiled programs."""
    return hashlib.sha256(b"".join(program(name).code for name in PROGRAMS)).hexdigest()[:16]


def rom() -> list[int]:
    """Words of the boot ROM."""
    code = program("rom").code
    return list(struct.unpack(f"<{len(code) // 4}I", code))


def program(name: str) -> FirmwareProgram:
    """The program "rom" or "app": the shipped one, or a new one if the sources were changed. Raises `BuildError`."""
    digest = sources_digest()
    if digest is None or digest == shipped.sources_digest():
        return shipped.load(name)
    return compiled(name)


def compiled(name: str) -> FirmwareProgram:
    """The program "rom" or "app", compiled from the sources unless that was done before. Raises `BuildError`."""
    final = _folder() / f"{sources_digest()}-{_zig_version()}" / name
    if not final.exists():
        final.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=final.parent))
        try:
            _compile(name, work)
            os.rename(work, final)
        except OSError:
            if not final.exists():  # if it exists, another process was faster
                raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return _load(name, final)


def _folder() -> Path:
    return build_root() / "firmware"


def _zig_version() -> str:
    if importlib.util.find_spec("ziglang") is None:
        raise BuildError("the firmware's sources were changed and must be compiled with the package ziglang, which is "
                         "not installed; install it with: pip install 'lepton-chip[firmware]'")
    return importlib.metadata.version("ziglang")


def compile_c(arguments: list[str], folder: Path) -> None:
    """Run the compiler for the processor in `folder`. Raises `BuildError` with its message."""
    _zig_version()
    command = [sys.executable, "-m", "ziglang", "cc", *TARGET, *OPTIONS, *arguments]
    cache = {"ZIG_LOCAL_CACHE_DIR": str(folder / "zig"), "ZIG_GLOBAL_CACHE_DIR": str(_folder() / "zig")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=os.environ | cache)
    if done.returncode:
        raise BuildError(f"the firmware's compiler failed (status {done.returncode}):\n{done.stderr[-4000:]}")


def _compile(name: str, folder: Path) -> None:
    top = sources()
    if top is None:
        raise BuildError("this package has no sources of the firmware; install it from a checkout: pip install -e .")
    units = [path for part in PROGRAMS[name] for path in sorted((top / part).glob("*.[cS]"))]
    include = [f"-I{top / part}" for part in ("include", "dif", "app")]
    objects = []
    for path in units:
        target = folder / f"{path.stem}-{path.parent.name}.o"
        stack = ["-Xclang", "-stack-usage-file", "-Xclang", f"{target.stem}.su"] if path.suffix == ".c" else []
        compile_c([*WARNINGS, OPTIMIZE[name], *include, *stack, "-c", str(path), "-o", target.name], folder)
        objects.append(target.name)
    compile_c(["-Wl,--gc-sections", *objects, "-T", str(top / name / "link.ld"), "-o", f"{name}.elf"], folder)
    shutil.rmtree(folder / "zig", ignore_errors=True)


def _load(name: str, folder: Path) -> FirmwareProgram:
    elf = (folder / f"{name}.elf").read_bytes()
    base = ROM_BASE if name == "rom" else CODE_BASE
    code = b""
    variables = 0
    for kind, offset, address, file_bytes, memory_bytes in segments(elf):
        if kind == PT_LOAD and address == base:
            code = elf[offset:offset + file_bytes]
        elif kind == PT_LOAD and address == DATA_BASE:
            variables = memory_bytes
    code += bytes(-len(code) % 4)
    frames = [int(m[1]) for path in folder.glob("*.su")
              for m in re.finditer(r"\t(\d+)\t(?:static|dynamic,bounded)$", path.read_text(), re.MULTILINE)]
    found = FirmwareProgram(name, base, code, variables, sum(frames))
    if not code or found.variables + found.stack > DATA_BYTES:
        raise BuildError(f"the firmware does not fit: {found.report()}")
    return found


def segments(elf: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    """Type, file offset, address, bytes in the file and in memory of each segment of a 32-bit ELF file.

    Offsets of the fields are those of Elf32_Ehdr and Elf32_Phdr (System V ABI, chapters 4 and 5).
    """
    start, = struct.unpack_from("<I", elf, 28)  # e_phoff
    size, count = struct.unpack_from("<HH", elf, 42)  # e_phentsize, e_phnum
    for i in range(count):
        kind, offset, address, _, file_bytes, memory_bytes = struct.unpack_from("<6I", elf, start + i * size)
        yield kind, offset, address, file_bytes, memory_bytes


def main() -> int:
    """Compile both programs, write them into the package, and print their sizes."""
    digest = sources_digest()
    if digest is None:
        raise BuildError("this package has no sources of the firmware; run this in a checkout")
    programs = [compiled(name) for name in PROGRAMS]
    shipped.write(programs, digest, _zig_version())
    for found in programs:
        print(found.report())
    return 0


if __name__ == "__main__":
    sys.exit(main())
