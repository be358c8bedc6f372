"""Limits of tenants, totals of spools, the log of changes, and indices for what readers ask for."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NAME = sa.String(64)
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    for name in ("segments", "records", "bytes"):
        op.add_column("spools", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    same = "FROM segments s WHERE s.tenant = spools.tenant AND s.device = spools.device AND s.spool = spools.spool"
    op.execute(f"UPDATE spools SET segments = (SELECT count(*) {same}), "
               f"records = (SELECT coalesce(sum(s.records), 0) {same}), "
               f"bytes = (SELECT coalesce(sum(s.bytes), 0) {same})")
    op.create_index("certificates_of", "certificates", ["code"])
    op.create_index("segments_by_end", "segments", ["tenant", "last_time"])
    op.create_index("segments_by_arrival", "segments", ["tenant", "received"])
    op.drop_index("segments_by_model", "segments")
    op.create_index("segments_by_model", "segments", ["tenant", "model_hash", "device", "spool", "sequence"])
    op.create_table("tenants", sa.Column("tenant", _NAME, primary_key=True), sa.Column("max_bytes", sa.BigInteger),
                    sa.Column("max_devices", sa.BigInteger), sa.Column("keep_days", sa.Double))
    op.create_table("changes", sa.Column("id", _ID, primary_key=True, autoincrement=False),
                    sa.Column("time", sa.Double, nullable=False), sa.Column("actor", sa.String(256), nullable=False),
                    sa.Column("action", _NAME, nullable=False), sa.Column("subject", sa.Text, nullable=False),
                    sa.Column("previous", _NAME, nullable=False), sa.Column("digest", _NAME, nullable=False))
