"""What a round of the campaign has found, and the file from which a campaign continues."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lepton.results import Keyring
from lepton.results import segment as segments
from lepton.results.reading import Source


@dataclass
class Round:
    """`events`: kills, losses of power or faults by name. `records`: acknowledged ones, which were all looked for."""

    kind: str
    seed: int
    events: dict[str, int] = field(default_factory=dict)
    records: int = 0
    lost: int = 0
    twice: int = 0
    commit: str = ""
    error: str = ""

    @property
    def good(self) -> bool:
        return not (self.error or self.lost or self.twice)

    def compare(self, acknowledged: Iterable[int], found: Iterable[int]) -> None:
        """Count records that were acknowledged and are not found, and those that are found twice."""
        counts = Counter(found)
        expected = set(acknowledged)
        self.records += len(expected)
        self.lost += len(expected - counts.keys())
        self.twice += sum(count - 1 for count in counts.values())


def numbers(source: Source, keyring: Keyring) -> list[int]:
    """The numbers of all stored records, after all checks of their segments."""
    stored = source.keys()
    return [row["number"] for key in stored for row in segments.parse(source.get(key), key).open(keyring)]


def load(path: Path) -> list[Round]:
    """The rounds of earlier calls; none if there is no file."""
    if not path.exists():
        return []
    return [Round(**described) for described in json.loads(path.read_text())]


def save(path: Path, rounds: list[Round]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".new")
    aside.write_text(json.dumps([asdict(one) for one in rounds], indent=1))
    aside.replace(path)


def report(rounds: list[Round]) -> str:
    """A table: for each kind its events, records, lost and twice."""
    lines = [f"{'kind':8} {'rounds':>6} {'events':>7} {'records':>10} {'lost':>5} {'twice':>5}"]
    for kind in dict.fromkeys(one.kind for one in rounds):
        of = [one for one in rounds if one.kind == kind]
        events: Counter[str] = Counter()
        for one in of:
            events.update(one.events)
        lines.append(f"{kind:8} {len(of):6} {sum(events.values()):7} {sum(r.records for r in of):10} "
                     f"{sum(r.lost for r in of):5} {sum(r.twice for r in of):5}  "
                     + ", ".join(f"{count} {name}" for name, count in sorted(events.items())))
    lines.append(f"commits: {', '.join(sorted({one.commit for one in rounds}))}")
    lines += [f"FAILED {one.kind} round, seed {one.seed}: {one.error or f'{one.lost} lost, {one.twice} twice'}"
              for one in rounds if not one.good]
    return "\n".join(lines)
