"""ASGI middleware: refuses foreign hosts and origins, limits the size of requests, and adds security headers.

A page of another site could send requests to a local server, and read the answers if its name is made to point at this
machine (DNS rebinding). Therefore the ``Host`` header must be a known name, and ``Origin`` and ``Sec-Fetch-Site`` must
not name another site.
"""

import json
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("localhost", "127.0.0.1", "::1")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Middleware that passes only requests of this site.

    Args:
        app: Application.
        allowed_hosts: Names that may stand in the address bar; loopback names are always allowed.
        max_bytes: Largest body of a request.
        any_address: Whether any IP address may stand there: an address, unlike a name, cannot be made to point
            elsewhere.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Iterable[str], max_bytes: int, *, any_address: bool) -> None:
        self._app = app
        self._proxies = {host.lower() for host in allowed_hosts}
        self._any_address = any_address
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        fault = self._fault(Headers(scope=scope), is_page=scope["method"] == "GET" and scope["path"] == "/")
        if fault is not None:
            await _refuse(send, *fault)
            return
        await self._app(scope, self._limited(receive), _with_headers(send))

    def _fault(self, headers: Headers, *, is_page: bool) -> tuple[int, str] | None:
        address = headers.get("host", "")
        host = _host_of(f"//{address}")
        if not self._is_allowed(host):
            return 403, f"host {host!r} is not allowed; start the server with allowed_hosts=[{host}]"
        origin = headers.get("origin")
        # The same name on another port is another program, unless a proxy in front has this name.
        if origin is not None and origin.partition("//")[2] != address and _host_of(origin) not in self._proxies:
            return 403, f"requests of other sites ({origin}) are refused"
        # Images and scripts are requested without Origin; following a link to the page itself is allowed.
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not is_page:
            return 403, "requests of other sites are refused"
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._max_bytes:
            return 413, f"the body has {length} bytes; at most {self._max_bytes:,} are allowed"
        return None

    def _is_allowed(self, host: str | None) -> bool:
        if host in LOOPBACK or host in self._proxies:
            return True
        return self._any_address and host is not None and _is_address(host)

    def _limited(self, receive: Receive) -> Receive:
        """Stop reading a body without a declared length at the limit."""
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise HTTPException(413, f"the body has more than {self._max_bytes:,} bytes")
            return message

        return limited


def _host_of(address: str) -> str | None:
    """Return the host of an address in lower case, without port; ``None`` if there is none.

    >>> _host_of("http://Localhost:7860"), _host_of("//[::1]:80"), _host_of("null")
    ('localhost', '::1', None)
    """
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def _refuse(send: Send, status: int, message: str) -> None:
    body = json.dumps({"error": message}, ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return sending
