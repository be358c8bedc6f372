"""Scripts of Alembic, one for each version of the tables."""
