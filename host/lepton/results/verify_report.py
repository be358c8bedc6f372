"""What a check of a store finds: a report of each spool, and of the whole store."""

from dataclasses import dataclass, field


@dataclass
class SpoolReport:
    """The segments of one spool of a device. `holes`: number of missing records, over all runs.

    `head`: the last sequence number of the signed head and its time in ms since 1970, None without one.
    """

    tenant: str
    device: str
    spool: str
    signers: set[str] = field(default_factory=set)
    segments: int = 0
    records: int = 0
    runs: int = 0
    holes: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    head: tuple[int, int] | None = None
    notes: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass
class VerifyReport:
    """`errors` are those of objects that belong to no spool; each of the `spools` has its own.

    `unchecked`: number of segments by (device, signer), for spools without any segment signed by a key of the keyring.
    """

    spools: list[SpoolReport] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    unchecked: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether everything could be checked and is right."""
        return not (self.errors or self.unchecked or any(spool.errors for spool in self.spools))

    @property
    def records(self) -> int:
        return sum(spool.records for spool in self.spools)

    def known(self) -> dict[str, int]:
        """What `verify(known=...)` compares with later: the last sequence number of each spool's head."""
        return {"/".join((spool.tenant, spool.device, spool.spool)): spool.head[0]
                for spool in self.spools if spool.head is not None}
