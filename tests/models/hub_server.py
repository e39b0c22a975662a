"""Serve a few repositories as the Hugging Face Hub does, on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" + "0" * 34
"""The only commit of every repository; ``main`` and ``v1`` name it."""

Repositories = Mapping[str, Mapping[str, bytes]]


class _Handler(BaseHTTPRequestHandler):
    repositories: Repositories
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0].strip("/")
        self.asked.append(f"{self.command} {path}")
        if path.startswith("api/models/"):
            self._list(path)
            return
        owner, name, _, revision, file = [*path.split("/", 4), *[""] * 5][:5]
        repository = f"{owner}/{name}"
        if repository == "someone/private":
            self._refuse(401, None)
        elif repository == "someone/gated":
            self._refuse(403, "GatedRepo")
        elif repository == "someone/down":
            self._refuse(500, None)
        elif repository not in self.repositories:
            self._refuse(404, "RepoNotFound")
        elif revision not in ("main", "v1", COMMIT):
            self._refuse(404, "RevisionNotFound")
        elif file not in self.repositories[repository]:
            self._refuse(404, "EntryNotFound")
        else:
            content = self.repositories[repository][file]
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

    def _list(self, path: str) -> None:
        """What `HfApi.list_repo_files` reads: the tree of a repository."""
        repository = "/".join(path.split("/")[2:4])
        files = [
            {"type": "file", "path": name, "size": len(content), "oid": "0"}
            for name, content in self.repositories.get(repository, {}).items()
        ]
        content = json.dumps(files).encode()
        self.send_response(200 if files else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, status: int, code: str | None) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", code)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def serve(repositories: Repositories) -> Iterator[tuple[str, list[str]]]:
    """Serve repositories; ``someone/private``, ``/gated`` and ``/down`` answer as such.

    Args:
        repositories: Files and their content, by ``owner/name``.

    Yields:
        The endpoint, and the requests so far.
    """
    asked: list[str] = []
    handler = type("Handler", (_Handler,), {"repositories": repositories, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
