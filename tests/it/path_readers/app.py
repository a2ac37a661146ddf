"""A WSGI app that takes a path in each way that some app of Python does, one after the other."""

import posixpath
import sys
from urllib.parse import unquote_to_bytes, urlsplit
from wsgiref.simple_server import WSGIRequestHandler, make_server

WAYS = [
    lambda path: unquote_to_bytes(path.encode("latin-1")).decode("latin-1"),
    lambda path: path.encode("latin-1").decode("utf-8", "ignore").encode("latin-1", "ignore").decode("latin-1"),
    lambda path: urlsplit(path).path,
    lambda path: path.split("?")[0].split("#")[0],
    lambda path: posixpath.normpath(path),
    lambda path: path.replace("\\", "/"),
    lambda path: path.split("\0")[0],
    lambda path: "/".join(name.split(";")[0] for name in path.split("/")),
    lambda path: "/".join(name if name in (".", "..") else name.rstrip(". ") for name in path.split("/")),
]


def readings(path):
    seen, new = {path}, {path}
    for _ in range(5):
        found = set()
        for one in new:
            for way in WAYS:
                try:
                    found.add(way(one))
                except ValueError:
                    pass
        new = found - seen
        seen |= new
    return seen


def app(environ, start_response):
    secret = any(path.rstrip("/") == "/admin/secret.txt" for path in readings(environ["PATH_INFO"]))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"SECRET-OF-THE-ADMINS" if secret else b"public"]


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


make_server("127.0.0.1", int(sys.argv[1]), app, handler_class=Quiet).serve_forever()
