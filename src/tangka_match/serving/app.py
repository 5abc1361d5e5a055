"""Web application: the page, its API and its limits."""

import logging
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Annotated, Any, TypeVar

import anyio
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi import Query as Parameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from tangka_match.errors import TangkaMatchError
from tangka_match.serving.api_page import api_page
from tangka_match.serving.desk import SearchDesk
from tangka_match.serving.guard import Guard
from tangka_match.serving.pictures import MEDIA_TYPES
from tangka_match.serving.schemas import (
    MAX_BYTES,
    MAX_QUERY,
    MAX_TOP,
    About,
    Answer,
    Answers,
    Attention,
    Batch,
    Similar,
)

TIMEOUT = 30.0
"""Time after which a request is given up, in seconds."""
WORKERS = 2
"""Requests computed at once; further ones wait."""
STATIC = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
MAX_ID = 1000
"""Characters of an image id."""

Text = Annotated[str, Parameter(min_length=1, max_length=MAX_QUERY)]
ImageId = Annotated[str, Parameter(min_length=1, max_length=MAX_ID)]
Top = Annotated[int, Parameter(ge=1, le=MAX_TOP)]
T = TypeVar("T")


def create_app(
    desk: SearchDesk, allowed_hosts: Sequence[str] = (), *, any_address: bool = False, timeout: float = TIMEOUT
) -> FastAPI:
    """Build the application.

    Args:
        desk: What answers the queries.
        allowed_hosts: Names in the address bar other than those of this machine's loopback address.
        any_address: Whether the address bar may hold any IP address.
        timeout: Time after which a request is given up, in seconds.
    """
    # The usual documentation pages load their scripts from elsewhere; /docs is our own.
    # Recent versions can send measurements to a server that the environment names; no request leaves the machine.
    silent: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
    app = FastAPI(title="tangka_match search", docs_url=None, redoc_url=None, telemetry=silent)
    limiter = anyio.CapacityLimiter(WORKERS)

    async def compute(function: Callable[..., T], *arguments: Any) -> T:
        try:
            with anyio.fail_after(timeout):
                return await anyio.to_thread.run_sync(function, *arguments, abandon_on_cancel=True, limiter=limiter)
        except TimeoutError as error:
            raise HTTPException(503, f"no answer within {timeout:g} s; ask for less, or later") from error

    _add_errors(app)
    _add_page(app, desk)
    _add_api(app, desk, compute)
    app.add_middleware(Guard, allowed_hosts=allowed_hosts, max_bytes=MAX_BYTES, any_address=any_address)
    return app


def _add_api(app: FastAPI, desk: SearchDesk, compute: Callable[..., Any]) -> None:
    @app.get("/api/health")
    def health() -> dict[str, Any]:
        """Report that the server answers."""
        return {"status": "ok", "images": desk.split.num_images, "models": list(desk.searchers)}

    @app.get("/api/about")
    async def about() -> About:
        """Describe the data set and the models."""
        return await compute(desk.about)

    @app.get("/api/search")
    async def search(q: Text, top: Top = 5, model: int = 0) -> Answer:
        """Find the images that fit a sentence."""
        return (await compute(desk.search, [q], top, model))[0]

    @app.post("/api/search")
    async def search_batch(batch: Batch) -> Answers:
        """Find the images that fit each of several sentences."""
        return Answers(answers=await compute(desk.search, batch.queries, batch.top, batch.model))

    @app.get("/api/similar")
    async def similar(image_id: ImageId, top: Top = 5, model: int = 0) -> Similar:
        """Find images and captions close to an image of the data set."""
        return await compute(desk.similar, image_id, top, model)

    @app.post("/api/similar")
    async def similar_to_upload(request: Request, top: Top = 5, model: int = 0) -> Similar:
        """Find images and captions close to the picture in the body: the bytes of a PNG, JPEG or WebP file."""
        return await compute(desk.similar_to, await request.body(), top, model)

    @app.get("/api/attention")
    async def attention(q: Text, image_id: ImageId, model: int = 0) -> Attention:
        """Find the regions of an image that the words of a sentence refer to."""
        return await compute(desk.attention, q, image_id, model)

    @app.get("/api/picture", response_class=FileResponse)
    def picture(image_id: ImageId) -> FileResponse:
        """Send the thumbnail of an image."""
        path = desk.thumbnail(image_id)
        if path is None:
            raise HTTPException(404, f"image {image_id[:100]!r} has no thumbnail in {desk.pictures.folder}")
        return FileResponse(
            path, media_type=MEDIA_TYPES[path.suffix.lower()], headers={"Cache-Control": "private, max-age=3600"}
        )


def _add_page(app: FastAPI, desk: SearchDesk) -> None:
    folder = files("tangka_match.serving").joinpath("page")

    @app.get("/", include_in_schema=False)
    def page() -> HTMLResponse:
        return HTMLResponse(folder.joinpath("index.html").read_text("utf-8"))

    @app.get("/docs", include_in_schema=False)
    def documentation() -> HTMLResponse:
        return HTMLResponse(api_page(app.openapi()))

    static = {entry.name: entry for entry in folder.iterdir() if entry.name.endswith(tuple(STATIC))}

    @app.get("/static/{name}", include_in_schema=False)
    def static_file(name: str) -> Response:
        if name not in static:
            raise HTTPException(404, f"there is no file {name[:100]!r}")
        kind = STATIC["." + name.rpartition(".")[2]]
        return Response(static[name].read_bytes(), media_type=kind, headers={"Cache-Control": "no-cache"})


def _add_errors(app: FastAPI) -> None:
    """Answer every error as ``{"error": message}``."""

    @app.exception_handler(TangkaMatchError)
    def user_error(_: Request, error: TangkaMatchError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 400)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        faults = [f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg']}" for fault in error.errors()]
        return JSONResponse({"error": "; ".join(faults)}, 422)

    @app.exception_handler(StarletteHTTPException)
    def refused(_: Request, error: StarletteHTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code)

    @app.exception_handler(Exception)
    def internal(_: Request, error: Exception) -> JSONResponse:
        logging.getLogger("tangka_match").error("a request failed", exc_info=error)
        return JSONResponse({"error": "internal error; the terminal of the server shows it"}, 500)
