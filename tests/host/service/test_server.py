"""The socket of the service."""

import asyncio
import socket

import pytest
from lepton.service.errors import ServiceError
from lepton.service.options import Address
from lepton.service.server import listen


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_answers_do_not_wait_for_acknowledgements(host):
    """Headers and body of an answer are two writes: without TCP_NODELAY the second waits for the peer."""
    try:
        listener = listen(Address(host, 0))
    except ServiceError as error:
        pytest.skip(str(error))

    async def accepted_option():
        options: asyncio.Queue = asyncio.Queue()

        async def accept(reader, writer):
            options.put_nowait(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(accept, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname()[:2])
            option = await options.get()
            writer.close()
            return option

    assert asyncio.run(accepted_option()) != 0


def test_names_of_an_address():
    names = Address("0.0.0.0", 8443, ["ingest.example", "localhost"]).all_names()
    assert names[:2] == ["localhost", "127.0.0.1"]
    assert names.count("localhost") == 1
    assert "ingest.example" in names
