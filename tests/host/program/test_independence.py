"""Edge devices run compiled files without the compiler: neither their package nor the runtime loads it."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.models import topologies
from lepton.program import CompiledModel, dump, parse
from lepton.runtime import program_hash


@pytest.mark.parametrize("module", ["lepton.program", "lepton.runtime", "lepton.driver", "lepton.device"])
def test_no_module_of_the_compiler_is_loaded(module):
    code = (f"import {module}, sys; "
            "print(sorted(name for name in sys.modules if name.startswith(('lepton.compiler', 'lepton.frontends'))))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_model_is_read_and_run_without_the_compiler(tmp_path):
    graph = topologies.build("gemm_16x16x16")
    path = tmp_path / "net.lepton"
    compile_graph(graph, "tiny").save(path)
    np.savez(tmp_path / "inputs.npz", **topologies.random_inputs(graph))
    code = """
import sys, numpy as np, lepton.device
from lepton.program import CompiledModel
from lepton.runtime import Session
model = CompiledModel.load(sys.argv[1])
with lepton.device.open("golden", config="tiny") as device, Session(model, device) as session:
    print(sum(array.size for array in session.run(dict(np.load(sys.argv[2]))).outputs.values()))
print([name for name in sys.modules if name.startswith("lepton.compiler")])
"""
    done = subprocess.run([sys.executable, "-c", code, str(path), str(tmp_path / "inputs.npz")], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    size = sum(int(np.prod(graph.tensors[name].shape)) for name in graph.outputs)
    assert done.stdout.split("\n")[:2] == [str(size), "[]"]


def test_the_hash_of_a_program_is_that_of_its_file(tmp_path):
    """Of the bytes that were read, whatever this version of the package would write."""

    model = compile_graph(topologies.build("gemm_16x16x16"), "tiny")
    data = dump(model)
    assert program_hash(model) == hashlib.sha256(data).hexdigest() == parse(data).digest()
    other = data[:-2] + b"\1\0x"  # the zip has a comment, which this version does not write
    (tmp_path / "net.lepton").write_bytes(other)
    assert program_hash(CompiledModel.load(tmp_path / "net.lepton")) == hashlib.sha256(other).hexdigest()
