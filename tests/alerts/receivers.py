"""Real receivers on loopback: an HTTP server that answers as told, and a mail server."""

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from email.policy import default as modern
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    body: bytes


# (status, headers); a callable runs in the request, before the answer.
Answer = tuple[int, dict[str, str]]


@dataclass
class HttpReceiver:
    """`answers` are given in turn, then 204. `before_answer` may keep the sender waiting."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    before_answer: Callable[[], None] = lambda: None

    @property
    def ids(self) -> list[str]:
        return [request.headers["webhook-id"] for request in self.requests]


@contextmanager
def http_receiver() -> Iterator[HttpReceiver]:
    receiver = HttpReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.requests.append(Request(self.path, headers, body))
            status, more = receiver.answers.pop(0) if receiver.answers else (204, {})
            receiver.before_answer()
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A sender that hung up is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class MailServer:
    """`refuse_at` answers a verb with a line of its own; `hang_up_after_data` says nothing more;
    `after_data` runs when the message is in, before the answer."""

    port: int = 0
    mails: list[Message] = field(default_factory=list)
    refuse_at: dict[str, str] = field(default_factory=dict)
    hang_up_after_data: bool = False
    after_data: Callable[[], None] = lambda: None


@contextmanager
def mail_server() -> Iterator[MailServer]:
    sink = MailServer()

    class Handler(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(line.encode() + b"\r\n")

        def handle(self) -> None:
            self.say("220 sink")
            while line := self.rfile.readline():
                verb = line.split()[0].upper().decode() if line.split() else ""
                if verb in sink.refuse_at:
                    self.say(sink.refuse_at[verb])
                elif verb == "DATA":
                    self.say("354 go on")
                    if not self.take():
                        return None
                elif verb == "QUIT":
                    return self.say("221 bye")
                else:
                    self.say("250 fine")
            return None

        def take(self) -> bool:
            lines: list[bytes] = []
            while (line := self.rfile.readline()) not in (b".\r\n", b""):
                lines.append(line[1:] if line.startswith(b"..") else line)
            sink.mails.append(message_from_bytes(b"".join(lines), policy=modern))
            sink.after_data()
            if not sink.hang_up_after_data:
                self.say("250 taken")
            return not sink.hang_up_after_data

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    sink.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield sink
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
