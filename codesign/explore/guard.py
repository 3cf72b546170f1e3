"""Who may talk to the explorer? The page that it served, on this machine, alone.

A request -> the same request, or a refusal: names other than loopback (DNS
rebinding) and other origins (a foreign page in the same browser) get nothing.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
FORBIDDEN = 403
LARGEST_BODY = 256 * 1024
HEADERS = {
    b"content-security-policy": (
        b"default-src 'none'; script-src 'self'; style-src 'self'; "
        b"img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
        b"form-action 'none'; frame-ancestors 'none'"
    ),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}
"""Sent with every answer: the page may load nothing from elsewhere."""


def guarded(app: App) -> App:
    """The application behind the checks of host and origin."""

    async def run(  # noqa: PLR0917 - the signature of ASGI
        scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS.items()]
            await send(message)

        reason = refusal(scope)
        if reason:
            await _refuse(answer, reason)
        else:
            await app(scope, receive, answer)

    return run


def refusal(scope: Scope) -> str:
    """Why a request is refused; empty where it is not."""
    headers = {name.lower(): value for name, value in scope["headers"]}
    host = headers.get(b"host", b"").decode("latin-1")
    if host_name(host) not in LOOPBACK:
        return f'refused: "{host}" is not this machine\'s loopback.'
    origin = headers.get(b"origin")
    if origin is not None and origin.decode("latin-1") != f"http://{host}":
        return "refused: the request comes from another page."
    site = headers.get(b"sec-fetch-site", b"same-origin")
    if scope["method"] != "GET" and site not in {b"same-origin", b"none"}:
        return "refused: the request comes from another page."
    if int(headers.get(b"content-length", b"0") or 0) > LARGEST_BODY:
        return "refused: the request is too large."
    if scope["method"] == "POST" and not headers.get(b"content-type", b"").startswith(
        b"application/json"
    ):
        return "refused: send JSON."
    return ""


def host_name(host: str) -> str:
    """The name in a Host header, without its port.

    Example:
        >>> host_name("127.0.0.1:8642"), host_name("[::1]:80"), host_name("a.b")
        ('127.0.0.1', '[::1]', 'a.b')
    """
    name, colon, port = host.rpartition(":")
    return name.lower() if colon and port.isdigit() else host.lower()


async def _refuse(send: Send, reason: str) -> None:
    body = reason.encode()
    await send(
        {
            "type": "http.response.start",
            "status": FORBIDDEN,
            "headers": [(b"content-type", b"text/plain; charset=utf-8")],
        }
    )
    await send({"type": "http.response.body", "body": body})
