"""The tables as they were before there were migrations."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NAME = sa.String(64)
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _key(*names: str) -> list[sa.Column]:
    return [sa.Column(name, _NAME, primary_key=True) for name in names]


def _columns(kind: sa.types.TypeEngine, *names: str, nullable: bool = False) -> list[sa.Column]:
    return [sa.Column(name, kind, nullable=nullable) for name in names]


def upgrade() -> None:
    op.create_table("codes", *_key("digest"), *_columns(_NAME, "role", "tenant", "name"),
                    *_columns(sa.Double(), "expires"), *_columns(_NAME, "key", nullable=True),
                    *_columns(sa.Double(), "revoked", nullable=True))
    op.create_index("codes_of", "codes", ["tenant", "role", "name"])
    op.create_table("certificates", *_key("fingerprint"),
                    sa.Column("code", _NAME, sa.ForeignKey("codes.digest"), nullable=False),
                    *_columns(sa.Double(), "issued", "expires"))
    op.create_table("signing_keys", *_key("tenant", "device", "key"),
                    sa.Column("code", _NAME, sa.ForeignKey("codes.digest"), primary_key=True),
                    *_columns(sa.Double(), "since"))
    op.create_table("devices", *_key("tenant", "device"), *_columns(sa.Double(), "enrolled"))
    op.create_table("stores", *_key("tenant"), sa.Column("place", sa.Text, primary_key=True),
                    *_columns(_NAME, "identity"))
    op.create_table("spools", *_key("tenant", "device", "spool"), *_columns(sa.BigInteger(), "expected"),
                    *_columns(_NAME, "last_digest"), *_columns(sa.Double(), "last_received"),
                    *_columns(sa.BigInteger(), "lost_records"))
    op.create_table("segments", *_key("tenant", "device", "spool"),
                    sa.Column("sequence", sa.BigInteger, primary_key=True), *_columns(_NAME, "digest"),
                    *_columns(sa.BigInteger(), "bytes"), *_columns(_NAME, "run"),
                    *_columns(sa.BigInteger(), "first", "last", "records"),
                    *_columns(sa.Double(), "first_time", "last_time", "received"),
                    *_columns(sa.String(256), "model_hash", "program_hash", "config_hash"))
    op.create_index("segments_by_time", "segments", ["tenant", "first_time"])
    op.create_index("segments_by_model", "segments", ["tenant", "model_hash"])
    op.create_table("gaps", *_key("tenant", "device", "spool"),
                    sa.Column("first", sa.BigInteger, primary_key=True), *_columns(sa.BigInteger(), "last"),
                    *_columns(sa.Double(), "received"))
    op.create_table("refusals", sa.Column("id", _ID, primary_key=True, autoincrement=True),
                    *_columns(sa.Double(), "time"), *_columns(_NAME, "tenant", "role", "name", nullable=True),
                    *_columns(sa.String(64), "address", nullable=True), *_columns(sa.String(256), "request"),
                    *_columns(sa.Integer(), "status"), *_columns(_NAME, "reason"), *_columns(sa.Text(), "detail"))
    op.create_index("refusals_of", "refusals", ["tenant", "id"])
