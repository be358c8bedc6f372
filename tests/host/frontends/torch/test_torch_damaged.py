"""Damaged .pt2 files are refused with a text of one line, or load."""

import io
import json
import zipfile

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lepton.frontends.torch import convert, load_pt2  # noqa: E402
from lepton.graph import GraphError  # noqa: E402
from torch import nn  # noqa: E402

from tests.seeds import seeds  # noqa: E402

FILES = 40
VALUES = (0, 1, -1, 3, 65536, -(1 << 31), (1 << 63) - 1, None, True, "", [], {}, "x" * 300)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.linear = nn.Linear(4, 5)

    def forward(self, x):
        return torch.softmax(self.linear(torch.relu(self.conv(x)).mean((2, 3))), 1), x.transpose(1, 2)[:, ::2]


@pytest.fixture(scope="module")
def program() -> bytes:
    torch.manual_seed(5)
    x = torch.randn(1, 3, 6, 6)
    converted, _ = convert(Network().eval(), [torch.randn(4, 3, 6, 6)])
    file = io.BytesIO()
    torch.export.save(torch.export.export(converted, (x,)), file)
    return file.getvalue()


def places(value, found):
    """Every list and dictionary with each of its keys."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found.append((value, key))
        places(value[key], found)


def damaged(data: bytes, rng) -> bytes:
    """One number, text or list of the program is another, or a member of the archive has lost its end."""
    if rng.random() < 0.2:
        return data[:int(rng.integers(len(data)))]
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        names = [name for name in old.namelist() if name.endswith(".json")]
        chosen = str(rng.choice(names if rng.random() < 0.8 else old.namelist()))
        for name in old.namelist():
            content = old.read(name)
            if name == chosen and name in names:
                tree = json.loads(content)
                found = []
                places(tree, found)
                owner, key = found[int(rng.integers(len(found)))]
                owner[key] = VALUES[int(rng.integers(len(VALUES)))]
                content = json.dumps(tree).encode()
            elif name == chosen:
                content = content[:int(rng.integers(len(content) + 1))]
            new.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize("seed", seeds())
@pytest.mark.filterwarnings("ignore")
def test_damaged_programs(program, seed, tmp_path):
    rng = np.random.default_rng(seed)
    path = tmp_path / "network.pt2"
    refused = 0
    for _ in range(FILES):
        path.write_bytes(damaged(program, rng))
        try:
            load_pt2(path)
        except GraphError as error:
            assert str(error).strip() and "\n" not in str(error) and len(str(error)) < 1000
            refused += 1
    assert refused > FILES // 4
