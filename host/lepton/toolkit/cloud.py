"""`LeptonCloud`: where results go."""

from pathlib import Path

from ..upload import Upload, UploadPlace, user_place


class LeptonCloud:
    """A folder, an object store ("s3://bucket") or an ingest service ("https://...") for results.

    Results pass through a spool on this machine, so that none is lost while the place cannot be reached
    (docs/cloud.md). url: by default `lepton` in the user's data folder. spool: the spool's file.
    """

    def __init__(self, url: str | Path | None = None, *, spool: str | Path | None = None) -> None:
        place = user_place(None if url is None else str(url))
        if spool is not None:
            place = UploadPlace(Path(spool), place.target, place.keys, place.device)
        place.spool.parent.mkdir(parents=True, exist_ok=True)
        self.place = place

    def upload(self) -> Upload:
        """The spool and its uploader; a context."""
        return Upload(self.place)
