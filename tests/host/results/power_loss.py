"""A disk that loses power: an SQLite VFS that knows which writes have been synced.

Everything is written through to real files, but of each file the content of its last sync is kept, with the
writes since. When the power fails, at a chosen operation, every later operation fails too; `restore` then
leaves of each file what a disk may leave: what was synced, and of each sector written since, either the old or
the new content, at random.
"""

import random
from pathlib import Path

import apsw
from lepton.results.database import SpoolDatabase

SECTOR = 512


class PowerLost(Exception):
    """The machine has no power."""


class Disk(apsw.VFS):
    """Registered as the default while it is used as a context manager. Counts operations that reach the disk."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.files = {}
        self.operations = 0
        self.fails_at = None
        self.full = False
        super().__init__("power-loss", "unix", makedefault=True)

    def __enter__(self) -> "Disk":
        # its files have no shared memory, so the log's index must be in the connection's own, and there can be one only
        apsw.connection_hooks.append(self._exclusive)
        self._snapshot = SpoolDatabase.snapshot
        SpoolDatabase.snapshot = SpoolDatabase.reading
        return self

    def __exit__(self, *exc) -> None:
        SpoolDatabase.snapshot = self._snapshot
        apsw.connection_hooks.remove(self._exclusive)
        self.unregister()

    @staticmethod
    def _exclusive(db: apsw.Connection) -> None:
        db.pragma("locking_mode", "EXCLUSIVE")

    def xOpen(self, name, flags):
        return _File(self, name, flags)

    def xDelete(self, name, sync):
        self.work()
        super().xDelete(name, sync)
        self.files.pop(str(Path(name)), None)

    def work(self) -> None:
        """One operation; raises `PowerLost` when its time has come."""
        self.operations += 1
        if self.fails_at is not None and self.operations >= self.fails_at:
            raise PowerLost

    def restore(self) -> int:
        """Power is back: leave on disk what survived; returns how many unsynced sectors were lost."""
        lost = 0
        for path, (synced, pending) in self.files.items():
            content = bytearray(synced)
            for offset, data in pending:
                if data is None:  # truncated
                    if self.rng.random() < 0.5:
                        del content[offset:]
                    continue
                for start in range(offset - offset % SECTOR, offset + len(data), SECTOR):
                    first = max(start, offset)
                    last = min(start + SECTOR, offset + len(data))
                    if self.rng.random() < 0.5:
                        content.extend(bytes(max(0, last - len(content))))
                        content[first:last] = data[first - offset:last - offset]
                    else:
                        lost += 1
            Path(path).write_bytes(content)
        self.files.clear()
        self.fails_at = None
        return lost


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name, flags):
        super().__init__("unix", name, flags)
        self.disk = disk
        self.path = str(Path(name.filename() if isinstance(name, apsw.URIFilename) else name))
        if self.path not in disk.files:
            disk.files[self.path] = (Path(self.path).read_bytes(), [])

    def xWrite(self, data, offset):
        self.disk.work()
        if self.disk.full:
            raise apsw.FullError("no space left on device")
        super().xWrite(data, offset)
        self.disk.files[self.path][1].append((offset, bytes(data)))

    def xTruncate(self, size):
        self.disk.work()
        super().xTruncate(size)
        self.disk.files[self.path][1].append((size, None))

    def xSync(self, flags):
        self.disk.work()  # the real disk is not waited for
        self.disk.files[self.path] = (Path(self.path).read_bytes(), [])
