"""Records of the segments that retention deletes (`results.head`): without them `verify` would call them missing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.serialization import Encoding

from ..results import DeviceKeys, SegmentError, Store, StoreError, Unavailable
from ..results import head as heads
from ..results.segment import Key
from .authority import Authority


@dataclass(frozen=True)
class ExpiredSegment:
    """A stored segment, and the number of its records."""

    key: Key
    records: int


class Expiries:
    """Signs each record with a new key, for which `authority` vouches as one of the device; the key is not kept."""

    def __init__(self, authority: Authority):
        self._authority = authority

    def add(self, store: Store, deleted: Sequence[ExpiredSegment]) -> None:
        """Store records with `deleted` and what earlier ones name."""
        spools: dict[tuple[str, str, str], list[ExpiredSegment]] = {}
        for stored in deleted:
            spools.setdefault((stored.key.tenant, stored.key.device, stored.key.spool), []).append(stored)
        for (tenant, device, spool), group in spools.items():
            ledger = _ledger(store, heads.key_of(tenant, device, spool, expired=True))
            for stored in sorted(group, key=lambda stored: stored.key.sequence):
                ledger.add(stored.key.sequence, stored.records, stored.key.digest)
            keys = DeviceKeys.generate()
            certificate = self._authority.vouch(tenant, device, keys.signing.public_key().public_bytes_raw().hex())
            keys = replace(keys, certificate=certificate.public_bytes(Encoding.DER))
            store.put_head(*heads.seal(keys, ledger, tenant=tenant, device=device, spool=spool, expired=True))


def _ledger(store: Store, key: str) -> heads.Ledger:
    """What an earlier record names. Raises `Unavailable` if the store does not answer."""
    try:
        head = heads.parse(store.get(key), key).head
    except Unavailable:
        raise
    except (StoreError, SegmentError):  # there is none
        return heads.Ledger()
    return heads.Ledger([list(pair) for pair in head.ranges], head.segments, head.records, head.digest)
