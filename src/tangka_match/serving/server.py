"""Run the search page until Ctrl-C."""

import socket
import webbrowser
from collections.abc import Callable, Mapping, Sequence

import uvicorn
from fastapi import FastAPI

from tangka_match.data.split import Split
from tangka_match.errors import ConfigError
from tangka_match.retrieval.own_pictures import PictureEncoder
from tangka_match.retrieval.searcher import Searcher
from tangka_match.serving.address import MAX_CONNECTIONS
from tangka_match.serving.app import create_app
from tangka_match.serving.desk import SearchDesk
from tangka_match.serving.guard import LOOPBACK
from tangka_match.serving.pictures import Pictures

WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - recognised, not chosen


def serve(
    searchers: Mapping[str, Searcher],
    split: Split,
    *,
    listener: socket.socket,
    host: str,
    allowed_hosts: Sequence[str],
    top: int,
    opens: bool,
    announce: Callable[[str], None],
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        searchers: Searchers by the name of their model.
        split: Split that they search.
        listener: Bound socket, from `address.open_socket`.
        host: Address that it was bound to.
        allowed_hosts: Further names in the address bar.
        top: Images per query on the page.
        opens: Whether to open the page in a browser.
        announce: Prints a line to the terminal.
    """
    pictures = Pictures(split.captions_path.absolute().parent)
    desk = SearchDesk(searchers, split, pictures, top, _open_encoder(split, announce))
    is_local = host in LOOPBACK
    names = [*allowed_hosts, *([] if host in WILDCARDS else [host]), *([] if is_local else [socket.gethostname()])]
    app = create_app(desk, names, any_address=host in WILDCARDS)
    port = listener.getsockname()[1]
    shown = "127.0.0.1" if host in WILDCARDS else host
    address = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
    if not is_local:
        announce(
            f"host={host}: everyone who reaches this machine can search and see the pictures; there is no password"
        )
    if not pictures.has_any(split.image_ids):
        announce(f"no thumbnails in {pictures.folder}: the page shows boxes and ids; put <image id>.jpg or .png there")
    announce(f"page         {address}   (API: {address}/docs; Ctrl-C ends the server)")
    if opens:
        webbrowser.open(address)
    _run(app, listener)


def _open_encoder(split: Split, announce: Callable[[str], None]) -> PictureEncoder | None:
    """Load the encoder of uploaded pictures; the page works without it."""
    try:
        return PictureEncoder.of(split)
    except ConfigError as error:
        announce(f"pictures of your own cannot be searched with: {error}")
        return None


def _run(app: FastAPI, listener: socket.socket) -> None:
    config = uvicorn.Config(app, log_level="warning", limit_concurrency=MAX_CONNECTIONS, timeout_keep_alive=10)
    uvicorn.Server(config).run(sockets=[listener])
