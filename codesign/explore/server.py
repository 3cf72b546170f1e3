"""How does the page reach the session? HTTP on loopback, progress as events.

A function that opens a session -> an ASGI application.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from threading import Event, Thread
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from codesign.core.errors import CodesignError, InputError
from codesign.explore.guard import App, guarded

BAD_INPUT, BUG = 400, 500
Tell = Callable[[str], None]
Endpoint = Callable[[Request], Awaitable[Response]]


class Desk:
    """The session once it is open, and every line of its progress until then.

    ``opened`` runs in a thread of its own, so that the page is there at once.
    """

    def __init__(self, opening: Callable[[Tell], Any]) -> None:
        self.session: Any = None
        self.error = ""
        self.lines: list[str] = []
        self._opening = opening
        self._begun = False

    def begin(self) -> None:
        """Start to open the session, once."""
        if not self._begun:
            self._begun = True
            Thread(target=self._open, daemon=True).start()

    def _open(self) -> None:
        try:
            self.session = self._opening(self.lines.append)
        except Exception as error:
            self.error = words(error)

    def ready(self) -> Any:
        """The session.

        Raises:
            InputError: it is not open yet, or could not be opened.
        """
        if self.session is None:
            raise InputError(self.error or "The model is still being compiled.")
        return self.session


def words(error: BaseException) -> str:
    """One clear line of an error; the class where it is a bug."""
    if isinstance(error, CodesignError):
        return "\n".join(str(error).splitlines()[:3])
    return f"A bug in codesign: {type(error).__name__}: {str(error).splitlines()[:1]}"


ASKED = ("evaluate", "roofline", "slice", "step", "export")
STREAMED = ("optimise", "pareto")


def build_app(opening: Callable[[Tell], Any]) -> App:
    """The application; it opens the session when it starts."""
    desk = Desk(opening)
    static = Path(str(files("codesign.explore"))) / "static"

    async def index(_: Request) -> Response:
        desk.begin()
        return FileResponse(static / "index.html")

    async def start(_: Request) -> Response:
        desk.begin()
        return _stream(_opening(desk))

    async def runs(_: Request) -> Response:
        return await _answer(lambda: {"runs": desk.ready().library.runs()})

    async def run(request: Request) -> Response:
        name = request.path_params["name"]
        return await _answer(lambda: desk.ready().library.run(name))

    posts = {name: _ask(desk, name) for name in ASKED}
    posts |= {name: _ask_for_stream(desk, name) for name in STREAMED}
    routes = [
        Route("/", index),
        Route("/api/start", start),
        Route("/api/runs", runs),
        Route("/api/runs/{name}", run),
        *(Route(f"/api/{name}", to, methods=["POST"]) for name, to in posts.items()),
        Mount("/static", StaticFiles(directory=static)),
    ]

    @asynccontextmanager
    async def begin(_: Starlette) -> AsyncGenerator[None]:
        desk.begin()
        yield

    return guarded(Starlette(routes=routes, lifespan=begin))


def _ask(desk: Desk, method: str) -> Endpoint:
    """Answers a request by a method of the session."""

    async def endpoint(request: Request) -> Response:
        body = await request.body()
        return await _answer(lambda: getattr(desk.ready(), method)(_read_json(body)))

    return endpoint


def _ask_for_stream(desk: Desk, method: str) -> Endpoint:
    """Answers a request by a method that tells how far it is."""

    async def endpoint(request: Request) -> Response:
        body = await request.body()

        def work(tell: Tell, stop: Event) -> Any:
            data = _read_json(body)
            return getattr(desk.ready(), method)(data, progress=tell, stop=stop)

        return _stream(_events(work))

    return endpoint


def _stream(events: AsyncIterator[str]) -> Response:
    return StreamingResponse(events, media_type="text/event-stream")


async def _answer(work: Callable[[], Any]) -> Response:
    try:
        found = await run_in_threadpool(work)
    except CodesignError as error:
        return PlainTextResponse(words(error), status_code=BAD_INPUT)
    except Exception as error:
        return PlainTextResponse(words(error), status_code=BUG)
    if isinstance(found, str):
        return PlainTextResponse(found)
    return JSONResponse(found)


def _read_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError("the request is not JSON.") from error


async def _opening(desk: Desk) -> AsyncIterator[str]:
    """Lines of progress, then the catalogue or the error."""
    shown = 0
    while desk.session is None and not desk.error:
        for line in desk.lines[shown:]:
            yield _event("progress", {"text": line})
        shown = len(desk.lines)
        await asyncio.sleep(0.1)
    if desk.error:
        yield _event("failed", {"text": desk.error})
    else:
        yield _event("done", await run_in_threadpool(desk.ready().catalogue))


async def _events(work: Callable[[Tell, Event], Any]) -> AsyncIterator[str]:
    """Progress of work in a thread; it is asked to stop when nobody listens."""
    loop, stop = asyncio.get_running_loop(), Event()
    queue: asyncio.Queue[str | None] = asyncio.Queue()

    def put(event: str | None) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, event)

    def run() -> None:
        try:
            found = work(lambda line: put(_event("progress", {"text": line})), stop)
            put(_event("done", found))
        except Exception as error:
            put(_event("failed", {"text": words(error)}))
        put(None)

    Thread(target=run, daemon=True).start()
    try:
        while (event := await queue.get()) is not None:
            yield event
    finally:
        stop.set()


def _event(name: str, data: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(data, allow_nan=False)}\n\n"
