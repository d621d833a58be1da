"""The HTTP interface of `hicmae serve`: a page, and the same predictions as JSON."""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

from hicmae.web.model_process import ModelProcess
from hicmae.web.page import serve_page

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; img-src data: blob:; media-src data: blob:; connect-src 'self'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_FILE_TYPES = re.compile(r"(video|audio)/|application/octet-stream")
"""A form of another site can send none of these without being asked first."""
_UPLOAD_SECONDS = 120
_STATUS_CODES = {"timeout": 504, "crashed": 500}
"""Of failures that are not the file's fault alone; a file that cannot be predicted is 422."""


@dataclass(frozen=True)
class Limits:
    """What is taken.

    Attributes:
        max_bytes: Size of a file.
        max_seconds: Length of a video.
        max_waiting: Files that are being received, waiting or processed, at the same time.
        keep: Folder in which files are kept; None keeps none.
    """

    max_bytes: int
    max_seconds: float
    max_waiting: int = 4
    keep: Path | None = None


class _Refused(Exception):
    """A request that is not served: its HTTP code, a status and a sentence."""

    def __init__(self, code: int, status: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.status, self.reason = code, status, reason


def make_app(asker: ModelProcess, limits: Limits, host: str) -> FastAPI:
    """The server.

    Files come as the body of a request, not as a form: so the size is bounded while they come, and a page of another
    site cannot send one from a visitor's browser without being asked first.

    Args:
        asker: Predictions files; closed when the server ends.
        limits: What is taken.
        host: Address that it listens on. On a loopback address only requests to that address are served, whatever
            name a foreign site gives to it.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        asker.close()

    app = FastAPI(title="HiCMAE", lifespan=lifespan, openapi_url=None)
    if host in _LOOPBACK:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*_LOOPBACK, "[::1]"])
    desk = _Desk(asker, limits)

    @app.exception_handler(_Refused)
    async def refuse(_: Request, refused: _Refused) -> JSONResponse:
        return JSONResponse({"status": refused.status, "reason": refused.reason}, refused.code)

    @app.get("/")
    async def page() -> HTMLResponse:
        return HTMLResponse(serve_page(limits.max_bytes, limits.max_seconds, limits.keep), headers=_SECURITY)

    @app.post("/explain")
    async def explain(request: Request, name: str = "the file") -> JSONResponse:
        return JSONResponse(await desk.predict(request, name))

    @app.post("/predict")
    async def predict(request: Request, name: str = "the file") -> JSONResponse:
        return JSONResponse(_prediction(await desk.predict(request, name)))

    return app


class _Desk:
    """Takes files in, within the limits, and hands predictions out."""

    def __init__(self, asker: ModelProcess, limits: Limits) -> None:
        self._asker, self._limits = asker, limits
        self._num_waiting = 0

    async def predict(self, request: Request, name: str) -> dict[str, Any]:
        """The record of the file in the request's body.

        Raises:
            _Refused: If there is no prediction.
        """
        if not _FILE_TYPES.match(request.headers.get("content-type", "")):
            reason = "send the file itself as the body, with Content-Type: application/octet-stream"
            raise _Refused(415, "unsupported", reason)
        if self._num_waiting >= self._limits.max_waiting:
            raise _Refused(503, "busy", f"{self._num_waiting} files are waiting already; try again in a moment")
        self._num_waiting += 1
        try:
            with tempfile.TemporaryDirectory(prefix="hicmae-") as folder:
                path = Path(folder) / "upload"
                await self._receive(request, path)
                record = await run_in_threadpool(self._asker.ask, path)
                self._keep(path, name)
        finally:
            self._num_waiting -= 1
        record["reason"] = record["reason"].replace(str(path), name)
        if not record["whole"]:
            raise _Refused(_STATUS_CODES.get(record["status"], 422), record["status"], record["reason"])
        return record

    async def _receive(self, request: Request, path: Path) -> None:
        size, limit = 0, self._limits.max_bytes
        try:
            async with asyncio.timeout(_UPLOAD_SECONDS):
                with path.open("wb") as file:
                    async for piece in request.stream():
                        size += len(piece)
                        if size > limit:
                            raise _Refused(413, "too_large", f"the file is larger than {limit / 1e6:g} MB")
                        file.write(piece)
        except TimeoutError:
            raise _Refused(408, "too_slow", f"the file did not arrive within {_UPLOAD_SECONDS} s") from None
        except ClientDisconnect:
            raise _Refused(400, "cut_short", "the connection ended before the file did") from None

    def _keep(self, path: Path, name: str) -> None:
        if self._limits.keep is not None:
            plain = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(name).name).strip("._") or "file"
            path.rename(
                self._limits.keep / f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**6:06d}-{plain[-80:]}"
            )


def _prediction(record: dict[str, Any]) -> dict[str, Any]:
    """The prediction alone, in the form of `hicmae predict --json`."""
    said = record["said"]
    return {
        "status": record["status"],
        "reason": record["reason"],
        "used": record["used"],
        **({"calibrated": record["calibrated"]} if said == "probabilities" else {}),
        said: dict(zip(record["names"], record["whole"], strict=True)),
        "windows": [
            {
                "start_seconds": window["start_seconds"],
                "end_seconds": window["end_seconds"],
                said: dict(zip(record["names"], window["values"], strict=True)),
            }
            for window in record["windows"]
        ],
    }
