"""The FastAPI application: the endpoints behind the gate, and one function for all refusals."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from obstore.exceptions import BaseError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from .. import __version__
from ..results import CloudError
from .audit import Audit
from .authority import Authority
from .database import IndexDatabase
from .enrolment import Enrolment
from .gate import Gate, refuse, unavailable
from .ingest import Ingest
from .limits import Limits
from .messages import Problem
from .metrics import Metrics
from .partials import Partials
from .refusal import RequestRefused
from .routes import router
from .uploads import Uploads

_REASONS = {400: "malformed", 404: "not_found", 405: "method"}


class IngestApp(FastAPI):
    """FastAPI with an OpenAPI document that has what FastAPI cannot know: problems' media type, and that certificates
    identify the client."""

    def openapi(self) -> dict[str, Any]:
        """The document, as a JSON object."""
        document = get_openapi(title=self.title, version=self.version, description=self.description,
                               routes=self.routes)
        components = document["components"]
        components["schemas"]["Problem"] = Problem.model_json_schema()
        components["securitySchemes"] = {"certificate": {
            "type": "mutualTLS", "description": "a certificate from `POST /v1/enrolment`"}}
        document["security"] = [{"certificate": []}]
        return document


def bare_app() -> FastAPI:
    """The endpoints without a database or store: enough for the OpenAPI document."""
    app = IngestApp(title="Lepton ingest", version=__version__, openapi_url="/v1/openapi.json", docs_url=None,
                    redoc_url=None, description="Segments of results, stored and indexed. All requests except "
                                                "enrolment need a client certificate over TLS 1.3.")
    app.include_router(router)
    return app


def make_app(database: IndexDatabase, authority: Authority, enrolment: Enrolment, ingest: Ingest, audit: Audit,
             limits: Limits, metrics: Metrics, partials: Partials, proxies: frozenset[str] = frozenset()) -> FastAPI:
    """The service as an ASGI application. It must run in the server of `server`, which passes the client's certificate,
    and sets `state.pools` when its event loop runs.
    """
    app = bare_app()
    app.state.database = database
    app.state.authority = authority
    app.state.enrolment = enrolment
    app.state.ingest = ingest
    uploads = app.state.uploads = Uploads(ingest, enrolment, metrics, lambda: app.state.pools)
    app.state.metrics = metrics
    app.state.partials = partials
    app.state.pools = None
    app.add_middleware(Gate, enrolment=enrolment, audit=audit, limits=limits, metrics=metrics,
                       uploads=uploads, partials=partials, pools=lambda: app.state.pools, proxies=proxies)

    @app.exception_handler(RequestRefused)
    async def refused(request: Request, error: RequestRefused) -> Response:
        return await refuse(audit, request.scope, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return await refuse(audit, request.scope, RequestRefused(422, "invalid", f"{where}: {first['msg']}"))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        answer = await refuse(audit, request.scope, RequestRefused(
            error.status_code, _REASONS.get(error.status_code, "malformed"), str(error.detail)))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(SQLAlchemyError)
    @app.exception_handler(BaseError)
    @app.exception_handler(CloudError)
    @app.exception_handler(OSError)
    async def failed(_request: Request, error: Exception) -> Response:
        return unavailable(error)

    return app
