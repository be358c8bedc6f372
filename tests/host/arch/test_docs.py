"""docs/reference/ is what the description makes."""

from lepton.arch import REGISTERS, ErrorCode
from lepton.arch.commands import Dma, Tensor
from lepton.arch.docs import COMMAND, folder, pages, stale, write


def test_the_reference_pages_are_up_to_date():
    changed = stale(folder())
    assert not changed, f"docs/reference/{', '.join(changed)} differ from host/lepton/arch; run: {COMMAND}"


def test_every_page_in_the_folder_is_a_generated_one():
    assert {path.name for path in folder().iterdir()} == set(pages())


def test_stale_pages_are_found_and_written(tmp_path):
    where = tmp_path / "reference"
    assert write(where) == list(pages()) and stale(where) == []
    (where / "errors.md").write_text("old")
    (where / "config.md").unlink()
    assert stale(where) == ["errors.md", "config.md"]
    assert write(where) == ["errors.md", "config.md"] and stale(where) == []


def test_nothing_is_left_out():
    made = pages()
    for record in (Dma, Tensor):
        for field in record.fields:
            assert f"| `{field.name}` |" in made["commands.md"]
    for register in REGISTERS.values():
        assert f"| `{register.offset:#05x}` | {register.name} | {register.access} |" in made["registers.md"]
    for code in ErrorCode:
        assert f"| {int(code)} | {code.name} | {code.text} |" in made["errors.md"]


def test_positions_follow_the_record():
    page = pages()["commands.md"]
    assert "| 8 | 0 | `first` | uint1 |" in page
    assert "| 8 | 7:5 | `reserved_flags` | uint3 |" in page
    assert "| 9 |  | `pad` | int8 |" in page
    assert "| 124 |  | `reserved_end` | uint32 |" in page
