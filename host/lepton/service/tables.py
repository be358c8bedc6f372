"""The tables. Times are seconds since 1970 (UTC), digests and keys are in hexadecimal.

Every row that belongs to a tenant says so in its column `tenant`, which leads its key and its indices.
"""

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Integer, MetaData, String, Table, Text

SCHEMA_VERSION = 1
ORIGIN = ("model_hash", "program_hash", "config_hash")  # what a segment's results were made with, empty if unknown

metadata = MetaData()

_Name = String(64)
_Digest = String(64)
_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only a column of exactly this type

schema = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

codes = Table(  # one-time codes, by their SHA-256; all certificates and keys that came from one end when it is revoked
    "codes", metadata,
    Column("digest", _Digest, primary_key=True),
    Column("role", _Name, nullable=False),
    Column("tenant", _Name, nullable=False),
    Column("name", _Name, nullable=False),
    Column("expires", Double, nullable=False),
    Column("key", _Digest),  # SHA-256 of the public key that used it
    Column("revoked", Double),
    Index("codes_of", "tenant", "role", "name"),
)

certificates = Table(  # every one that was issued
    "certificates", metadata,
    Column("fingerprint", _Digest, primary_key=True),  # SHA-256 of the certificate in DER
    Column("code", ForeignKey("codes.digest"), nullable=False),
    Column("issued", Double, nullable=False),
    Column("expires", Double, nullable=False),
)

signing_keys = Table(  # Ed25519 public keys that a device's segments may be signed with
    "signing_keys", metadata,
    Column("tenant", _Name, primary_key=True),
    Column("device", _Name, primary_key=True),
    Column("key", _Digest, primary_key=True),
    Column("code", ForeignKey("codes.digest"), primary_key=True),
    Column("since", Double, nullable=False),
)

devices = Table(
    "devices", metadata,
    Column("tenant", _Name, primary_key=True),
    Column("device", _Name, primary_key=True),
    Column("enrolled", Double, nullable=False),
)

stores = Table(  # identities of the stores that hold a tenant's objects, as they were when first used
    "stores", metadata,
    Column("tenant", _Name, primary_key=True),
    Column("place", Text, primary_key=True),  # folder or URL
    Column("identity", _Name, nullable=False),
)

spools = Table(  # how far each spool of a device has come; a device that loses its spool begins another
    "spools", metadata,
    Column("tenant", _Name, primary_key=True),
    Column("device", _Name, primary_key=True),
    Column("spool", _Name, primary_key=True),
    Column("expected", BigInteger, nullable=False),  # the next sequence
    Column("last_digest", _Digest, nullable=False),
    Column("last_received", Double, nullable=False),
    Column("lost_records", BigInteger, nullable=False),  # that the spool, being full, did not take or dropped
)

segments = Table(
    "segments", metadata,
    Column("tenant", _Name, primary_key=True),
    Column("device", _Name, primary_key=True),
    Column("spool", _Name, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("digest", _Digest, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("run", _Name, nullable=False),  # empty for one that carries counters only
    Column("first", BigInteger, nullable=False),  # numbers of the run's records
    Column("last", BigInteger, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("first_time", Double, nullable=False),  # of the records, by the device's clock
    Column("last_time", Double, nullable=False),
    Column("received", Double, nullable=False),  # by ours
    *(Column(name, String(256), nullable=False) for name in ORIGIN),
    Index("segments_by_time", "tenant", "first_time"),
    Index("segments_by_model", "tenant", "model_hash"),
)

gaps = Table(  # segments that had not come when a later one was taken
    "gaps", metadata,
    Column("tenant", _Name, primary_key=True),
    Column("device", _Name, primary_key=True),
    Column("spool", _Name, primary_key=True),
    Column("first", BigInteger, primary_key=True),
    Column("last", BigInteger, nullable=False),
    Column("received", Double, nullable=False),
)

refusals = Table(  # the audit: requests that were not granted
    "refusals", metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("time", Double, nullable=False),
    Column("tenant", _Name),  # null where nobody was identified
    Column("role", _Name),
    Column("name", _Name),
    Column("address", String(64)),  # null where the TLS handshake failed
    Column("request", String(256), nullable=False),
    Column("status", Integer, nullable=False),
    Column("reason", _Name, nullable=False),
    Column("detail", Text, nullable=False),
    Index("refusals_of", "tenant", "id"),
)
