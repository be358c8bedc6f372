"""Two processes on one PostgreSQL database and one store: a device may talk to either."""

import httpx

from tests.host.service.running import Service, members


def test_two_services(postgres, tmp_path):
    url = postgres.new_database()
    with Service(tmp_path, url) as first, Service(tmp_path, url) as second:
        camera = first.enrol("device", "acme", "cam7")
        reader = second.enrol("reader", "acme", "alice")
        through_second = httpx.Client(base_url=second.url, verify=second.context(camera.credentials.client))
        spool = camera.spool()
        statuses = []
        for i in range(6):
            segment = spool.next()
            for client in (camera, through_second) if i % 2 else (through_second, camera):
                statuses.append(client.put(f"/v1/{segment.key}", content=segment.data).status_code)
        assert statuses == [201, 200] * 6
        assert [row["sequence"] for row in reader.get("/v1/results").json()["segments"]] == list(range(6))

        first.revoke(camera.identity)
        for client in (camera, through_second):
            assert members(client.get("/v1/position", params={"spool": spool.identity})) == (401, "certificate_revoked")
        through_second.close()
