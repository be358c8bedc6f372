"""How an S3 store is reached: AWS_* variables, or else the server that `lepton cloud up` started."""

import os
from datetime import timedelta
from urllib.parse import urlsplit

from . import server

_VARIABLES = {"access_key_id": ("AWS_ACCESS_KEY_ID",), "secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
              "session_token": ("AWS_SESSION_TOKEN",), "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
              "endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")}


def options(where: str) -> dict:
    """What obstore is to be given for a URL. Repetition is the uploader's affair, which knows when."""
    if not where.startswith("s3://"):
        return {}
    found = {name: os.environ[variable] for name, variables in _VARIABLES.items()
             for variable in reversed(variables) if os.environ.get(variable)}
    if "access_key_id" not in found:
        found = {**server.access(urlsplit(where).netloc), **found}
    found.setdefault("region", "us-east-1")
    plain = found.get("endpoint", "").startswith("http://")
    return {**found, "retry_config": {"max_retries": 1, "retry_timeout": timedelta(seconds=10)},
            "client_options": {"timeout": timedelta(seconds=60), "connect_timeout": timedelta(seconds=10),
                               "allow_http": plain}}
