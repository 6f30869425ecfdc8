"""A camera for tests: frames as a stream of JPEGs over HTTP, as many cameras have it, on this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np


@contextmanager
def camera_server(frames: Sequence[np.ndarray], pace: float = 0.02, rounds: int = 10_000) -> Iterator[str]:
    """The address of a camera that shows the frames again and again, one every `pace` seconds, so many times for each
    who asks."""
    pictures = [cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            try:
                for number in range(rounds * len(pictures)):
                    picture = pictures[number % len(pictures)]
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                    self.wfile.write(head.encode() + picture + b"\r\n")
                    time.sleep(pace)
                    if is_closed.is_set():
                        break
            except OSError:
                pass  # who looked has gone

        def log_message(self, *_: object) -> None:
            pass

    is_closed = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/live.mjpg"
    finally:
        is_closed.set()
        server.shutdown()
        server.server_close()
