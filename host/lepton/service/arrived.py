"""The body of a request as a whole: what an earlier request has brought of it, and what this one brings."""

import asyncio
import hashlib

from starlette.datastructures import Headers
from starlette.types import Receive, Scope

from .bodies import RequestBody
from .identity import Identity
from .partials import Partials
from .refusal import RequestRefused


class Arrived:
    """A body whose parts may come with several requests, if it is that of a segment with the key `key`."""

    def __init__(self, partials: Partials, sender: Identity | None, key: str | None, body: RequestBody):
        self._partials = partials
        self._upload = (sender, key) if sender and key and sender.role == "device" else None
        self._body = body
        self._offset = 0  # where this request's part begins

    async def begin(self, scope: Scope, most: int) -> None:
        """Check where a PATCH begins: at most at `most`. Raises `RequestRefused`."""
        if scope["method"] != "PATCH" or self._upload is None:
            return
        given = Headers(scope=scope).get("upload-offset", "")
        if not (given.isascii() and given.isdigit() and len(given) < 12):
            raise RequestRefused(400, "malformed", "PATCH needs Upload-Offset: the bytes that are here already")
        here = await asyncio.to_thread(self._partials.size, *self._upload)
        if int(given) != here:
            raise RequestRefused(409, "offset", f"{here} bytes of the body are here, not {given}", offset=here)
        if here > most:
            raise RequestRefused(413, "too_large", "the whole body is larger than a segment may be")
        self._offset = here

    async def read(self, receive: Receive) -> bool:
        """Read the rest; False if the client has disconnected. What came is kept then, and also if it came too slowly.
        """
        try:
            complete = await self._body.read(receive)
        except RequestRefused:
            await self._keep()
            raise
        if not complete:
            await self._keep()
        return complete

    async def take(self) -> bytes:
        """The whole body. Raises `RequestRefused` if its parts do not fit: the device then sends it as a whole."""
        content = self._body.take()
        if self._upload is None or not self._offset:
            return content
        sender, key = self._upload
        whole = await asyncio.to_thread(self._partials.read, sender, key) + content
        await asyncio.to_thread(self._partials.drop, sender)
        if hashlib.sha256(whole).hexdigest() not in key:
            raise RequestRefused(409, "offset", "the parts do not have the digest of the key; send the whole body",
                                 offset=0)
        return whole

    async def _keep(self) -> None:
        if self._upload is not None:
            await asyncio.to_thread(self._partials.keep, *self._upload, self._offset, self._body.take())
