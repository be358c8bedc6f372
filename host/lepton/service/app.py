"""The FastAPI application: endpoints behind the gate, and every refusal through one door."""

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
from .gate import Gate, Limits, refuse, unavailable
from .ingest import Ingest
from .messages import Problem
from .refusal import RequestRefused
from .routes import router

_REASONS = {400: "malformed", 404: "not_found", 405: "method"}


def bare_app() -> FastAPI:
    """The endpoints with nothing behind them: enough for the OpenAPI document."""
    app = FastAPI(title="Lepton ingest", version=__version__, openapi_url="/v1/openapi.json", docs_url=None,
                  redoc_url=None, description="Segments of results, stored and indexed. Every request but an "
                                              "enrolment needs a client certificate, over TLS 1.3.")
    app.include_router(router)
    app.openapi = lambda: _document(app)
    return app


def make_app(database: IndexDatabase, authority: Authority, enrolment: Enrolment, ingest: Ingest, audit: Audit,
             limits: Limits) -> FastAPI:
    """The service as an ASGI application. It needs the server of `server`, which tells it the peer's certificate."""
    app = bare_app()
    app.state.database, app.state.authority, app.state.enrolment = database, authority, enrolment
    app.state.ingest = ingest
    app.add_middleware(Gate, enrolment=enrolment, audit=audit, limits=limits)

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


def _document(app: FastAPI) -> dict:
    """OpenAPI with what FastAPI cannot know: problems' media type, and that certificates identify the peer."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components = document["components"]
    components["schemas"]["Problem"] = Problem.model_json_schema()
    components["securitySchemes"] = {"certificate": {
        "type": "mutualTLS", "description": "a certificate that `POST /v1/enrolment` has given"}}
    document["security"] = [{"certificate": []}]
    return document
