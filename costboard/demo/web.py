"""One kept-alive connection to the demo's web server."""

import http.client
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 10.0


class Web:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self.connection: http.client.HTTPConnection | None = None

    def post(self, path: str, body: bytes, content_type: str, api_key: str) -> tuple[int, bytes]:
        """The answer's status and body; 0 and nothing when there was none."""
        headers = {"Authorization": f"Bearer {api_key}", "Content-Type": content_type}
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(
                    self.host, self.port, timeout=TIMEOUT_SECONDS
                )
            self.connection.request("POST", path, body, headers)
            response = self.connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return 0, b""

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None
