"""docs/reference/ is what the description makes."""

from lepton.arch import REGISTERS, ErrorCode, Space
from lepton.arch.commands import Dma, Tensor
from lepton.arch.docs import COMMAND, folder, pages, record_section, stale, write
from lepton.arch.record import Field, Record


def test_the_reference_pages_are_up_to_date():
    changed = stale(folder())
    assert not changed, f"docs/reference/{', '.join(changed)} differ from host/lepton/arch; run: {COMMAND}"


def test_every_page_in_the_folder_is_a_generated_one():
    assert {path.name for path in folder().glob("*.md")} == set(pages())  # ingest.json is the service's


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
    fields = (Field("flag", 1, "a flag"), Field("level", 7, "a level", signed=True),
              Field("space", 16, "where", enum=Space))
    lines = list(record_section(Record("Example", 3, fields, "Title.\n\n    code\nprose")))
    assert lines[1:4] == ["## Example", "", "Title."]
    assert lines[5:8] == ["```python", "code", "```"] and lines[9] == "prose"
    assert lines[-3:] == [
        "| 0 | 0 | `flag` | uint1 | a flag |",
        "| 0 | 7:1 | `level` | int7 | a level |",
        "| 1 |  | `space` | uint16 | where: 0 SCRATCHPAD, 1 WEIGHTS |",
    ]
