"""The tables. Times are seconds since 1970 (UTC); digests and keys are in hexadecimal.

Rows of a tenant have it in the column `tenant`, which is the first one of their key and indices.
"""

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Integer, MetaData, String, Table, Text

ORIGIN = ("model_hash", "program_hash", "config_hash")  # of a segment's results; empty if unknown

metadata = MetaData()

_Name = String(64)  # `identity.NAME`
_Digest = String(64)  # SHA-256 in hexadecimal
_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only INTEGER PRIMARY KEY (sqlite.org/autoinc.html)

codes = Table(  # one-time codes, by their SHA-256; revoking one revokes all certificates and keys issued for it
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

certificates = Table(  # all issued certificates
    "certificates", metadata,
    Column("fingerprint", _Digest, primary_key=True),  # SHA-256 of the certificate in DER
    Column("code", ForeignKey("codes.digest"), nullable=False),
    Column("issued", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Index("certificates_of", "code"),
)

signing_keys = Table(  # Ed25519 public keys of a device's segments
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

tenants = Table(  # limits of a tenant; null: none
    "tenants", metadata,
    Column("tenant", _Name, primary_key=True),
    Column("max_bytes", BigInteger),  # of stored segments
    Column("max_devices", BigInteger),
    Column("keep_days", Double),  # after which `lepton cloud expire` deletes segments
)

stores = Table(  # identities of the stores with a tenant's objects, as they were at the first use
    "stores", metadata,
    Column("tenant", _Name, primary_key=True),
    Column("place", Text, primary_key=True),  # folder or URL
    Column("identity", _Name, nullable=False),
)

spools = Table(  # the position of each spool of a device; a device that loses its spool begins another one
    "spools", metadata,
    Column("tenant", _Name, primary_key=True),
    Column("device", _Name, primary_key=True),
    Column("spool", _Name, primary_key=True),
    Column("expected", BigInteger, nullable=False),  # the next sequence number
    Column("last_digest", _Digest, nullable=False),
    Column("last_received", Double, nullable=False),
    Column("lost_records", BigInteger, nullable=False),  # records that the full spool has rejected or dropped
    Column("segments", BigInteger, nullable=False, server_default="0"),  # totals of the spool's stored segments
    Column("records", BigInteger, nullable=False, server_default="0"),
    Column("bytes", BigInteger, nullable=False, server_default="0"),
)

segments = Table(
    "segments", metadata,
    Column("tenant", _Name, primary_key=True),
    Column("device", _Name, primary_key=True),
    Column("spool", _Name, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("digest", _Digest, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("run", _Name, nullable=False),  # empty for a segment that has only counters
    Column("first", BigInteger, nullable=False),  # numbers of the run's records
    Column("last", BigInteger, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("first_time", Double, nullable=False),  # of the records, by the device's clock
    Column("last_time", Double, nullable=False),
    Column("received", Double, nullable=False),  # by the service's clock
    *(Column(name, String(256), nullable=False) for name in ORIGIN),
    Index("segments_by_time", "tenant", "first_time"),
    Index("segments_by_end", "tenant", "last_time"),
    Index("segments_by_model", "tenant", "model_hash", "device", "spool", "sequence"),  # the order of a page
    Index("segments_by_arrival", "tenant", "received"),  # for retention
)

gaps = Table(  # segments that had not arrived when a later one was stored
    "gaps", metadata,
    Column("tenant", _Name, primary_key=True),
    Column("device", _Name, primary_key=True),
    Column("spool", _Name, primary_key=True),
    Column("first", BigInteger, primary_key=True),
    Column("last", BigInteger, nullable=False),
    Column("received", Double, nullable=False),
)

refusals = Table(  # the audit: refused requests
    "refusals", metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("time", Double, nullable=False),
    Column("tenant", _Name),  # null if the client was not identified
    Column("role", _Name),
    Column("name", _Name),
    Column("address", String(64)),  # null if the TLS handshake failed
    Column("request", String(256), nullable=False),
    Column("status", Integer, nullable=False),
    Column("reason", _Name, nullable=False),
    Column("detail", Text, nullable=False),
    Index("refusals_of", "tenant", "id"),
)

changes = Table(  # the log of everything that changes rights; each row has the digest of the one before it
    "changes", metadata,
    Column("id", _Id, primary_key=True, autoincrement=False),  # 1, 2, 3, ...
    Column("time", Double, nullable=False),
    Column("actor", String(256), nullable=False),
    Column("action", _Name, nullable=False),
    Column("subject", Text, nullable=False),
    Column("previous", _Digest, nullable=False),
    Column("digest", _Digest, nullable=False),
)
