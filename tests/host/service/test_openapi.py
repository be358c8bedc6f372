"""The OpenAPI document describes the running service (checked by schemathesis)."""

import json
import time

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from lepton.service import docs, tables
from lepton.service.routes import HEAD_PATH, SEGMENT_PATH
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import func, select

EXAMPLES = 20  # of each operation
PATIENCE = 30.0
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
schemathesis.serializer.alias("application/partial-upload", "application/octet-stream")
schema = schemathesis.openapi.from_dict(json.loads(docs.text()))


def test_document_is_up_to_date():
    assert docs.page().read_text(encoding="utf-8") == docs.text(), f"run: {docs.COMMAND}"


def test_document_says_who_may_do_what():
    document = json.loads(docs.text())
    assert document["security"] == [{"certificate": []}]
    open_to_all = [path for path, operations in document["paths"].items() for operation in operations.values()
                   if operation.get("security") == []]
    assert open_to_all == ["/v1/enrolment", "/v1/renewal"]


@pytest.fixture(scope="module")
def peers(service):
    """The certificate of whom each operation is for."""
    camera = service.enrol("device", "acme", "cam7")
    reader = service.enrol("reader", "acme", "alice")
    camera.upload(camera.spool().next())
    device = str(camera.credentials.client)
    user = str(reader.credentials.client)
    own = {("POST", "/v1/enrolment"): None, ("POST", "/v1/renewal"): None, ("POST", "/v1/certificate"): device,
           ("GET", "/v1/position"): device,
           **{(method, f"/v1{SEGMENT_PATH}"): device for method in ("PUT", "PATCH", "HEAD")},
           ("PUT", f"/v1{HEAD_PATH}"): device}
    operations = [operation.ok() for operation in schema.get_all_operations()]
    return {(operation.method.upper(), operation.path): user for operation in operations} | own


def refused(service):
    database = service.open_database()
    with database.read() as connection:
        count = connection.scalar(select(func.count()).select_from(tables.refusals))
    database.close()
    return count


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
          suppress_health_check=list(HealthCheck))
def test_service_is_as_documented(case, service, peers):
    """Whatever is sent: an answer of the documented kind, and a row in the audit if it is a refusal."""
    before = refused(service)
    answer = case.call_and_validate(base_url=service.url, cert=peers[case.method, case.path],
                                    verify=str(service.authority), checks=CHECKS)
    expected = before + (answer.status_code >= 400)
    deadline = time.monotonic() + PATIENCE
    while refused(service) < expected and time.monotonic() < deadline:  # strangers' rows follow the answer
        time.sleep(0.01)
    assert refused(service) == expected
