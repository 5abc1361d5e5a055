"""Fake W&B server that accepts uploads of `wandb sync`, and keeps names and sizes only."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OWNER = {"id": "1", "name": "thangka", "entity": {"id": "1", "name": "us"}}
RUN = {"id": "1", "name": "run", "displayName": "run", "config": "{}", "sweepName": None, "project": OWNER}
MUTATIONS = (
    "UpsertBucket",
    "CreateRunFiles",
    "CreateArtifact",
    "CreateArtifactManifest",
    "UpdateArtifactManifest",
    "CreateArtifactFiles",
    "CommitArtifact",
)


class WandbServer(ThreadingHTTPServer):
    """Server on a free local port."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.uploaded: dict[str, int] = {}
        self.committed = 0

    @property
    def address(self) -> str:
        """Address for ``WANDB_BASE_URL``."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the parts of a GraphQL response that `wandb sync` 0.31 reads."""
        if operation not in MUTATIONS:
            return {"serverInfo": {"features": []}, "model": None}
        self.committed += operation == "CommitArtifact"
        run_files = [{"name": name, "uploadUrl": f"{self.address}/{name}"} for name in variables.get("files", ())]
        request = variables.get("input", {}).get("artifactFiles", ())
        content = {
            "bucket": RUN,
            "inserted": True,
            "runID": "1",
            "uploadHeaders": [],
            "artifact": {"id": "1", "state": "PENDING", "artifactSequence": {"id": "1", "latestArtifact": None}},
            "artifactManifest": {"id": "1", "file": self._file("manifest")},
            "files": run_files or {"edges": [{"node": self._file(file["name"])} for file in request]},
        }
        return {operation[0].lower() + operation[1:]: content}

    def _file(self, name: str) -> dict[str, Any]:
        address = {"uploadUrl": f"{self.address}/{name}", "uploadHeaders": [], "uploadMultipartUrls": None}
        return {"id": "1", "name": name, "displayName": name, "storagePath": name, "artifact": {"id": "1"}} | address


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WandbServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_PUT(self) -> None:
        self.server.uploaded[self.path.lstrip("/")] = len(self._body())
        self._send({})

    def do_POST(self) -> None:
        body = self._body()
        if not self.path.endswith("/graphql"):
            self._send({})
            return
        request = json.loads(body)
        (operation,) = re.findall(r"(?:query|mutation)\s+(\w+)", request["query"])[:1] or ["Nameless"]
        self._send({"data": self.server.answer(operation, request.get("variables") or {})})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def wandb_server() -> Iterator[WandbServer]:
    """Run a server."""
    server = WandbServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
