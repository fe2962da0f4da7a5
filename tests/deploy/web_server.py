"""The real nginx with our file, on ports of the system's choice."""

import os
import shutil
import signal
import ssl
import subprocess
from pathlib import Path

from tests.patience import patient
from tests.service import ROOT, free_port, wait_until

OURS = ROOT / "deploy" / "nginx.conf"

WORKERS = 2

_MAIN = """\
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
worker_processes {workers};
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  include {folder}/ours.conf;
}}
"""


def find_nginx() -> str | None:
    """nginx, which Debian keeps where only root looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


class WebServer:
    """nginx in front of a Unix socket.

    Args:
        folder: Holds its configuration, certificate and logs.
        upstream: The socket our file's place is taken by.
        changes: Lines of our file -> what somebody made of them.
    """

    def __init__(self, folder: Path, upstream: Path, changes: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.port, self.plain_port = free_port(), free_port()
        self.certificate = folder / "cert.pem"
        self._key = folder / "key.pem"
        self._process: subprocess.Popen[bytes] | None = None
        self._make_certificate()
        self._write(upstream, changes or {})

    @property
    def base_url(self) -> str:
        """Where it answers with TLS."""
        return f"https://localhost:{self.port}"

    def trust(self) -> ssl.SSLContext:
        """A context that trusts its certificate."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def _make_certificate(self) -> None:
        names = "subjectAltName=DNS:localhost,DNS:proxy.example.com,IP:127.0.0.1"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
            + ["-addext", names, "-keyout", str(self._key), "-out", str(self.certificate)],
            check=True,
            capture_output=True,
        )

    def _write(self, upstream: Path, changes: dict[str, str]) -> None:
        text = OURS.read_text()
        places = {
            "/run/codexproxy/codexproxy.sock": str(upstream),
            "/etc/ssl/codexproxy/fullchain.pem": str(self.certificate),
            "/etc/ssl/codexproxy/privkey.pem": str(self._key),
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl;",
            "listen 80;": f"listen 127.0.0.1:{self.plain_port};",
            **changes,
        }
        for place, ours in places.items():
            assert place in text, f"{OURS.name} does not mention {place} any more"
            text = text.replace(place, ours)
        (self.folder / "ours.conf").write_text(text)
        # Workers of root's nginx are nobody otherwise, who may not enter the folder.
        user = "user root;" if os.geteuid() == 0 else ""
        (self.folder / "main.conf").write_text(_MAIN.format(user=user, folder=self.folder, workers=WORKERS))

    def _command(self, *arguments: str) -> list[str]:
        nginx = find_nginx()
        assert nginx is not None
        return [nginx, "-p", str(self.folder), "-c", str(self.folder / "main.conf"), *arguments]

    def start(self) -> "WebServer":
        """Starts it and waits until it listens."""
        done = subprocess.run(self._command("-t"), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "[warn]" not in done.stderr, done.stderr
        self._process = subprocess.Popen(
            self._command("-g", "daemon off;"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: self._started() >= WORKERS, "nginx's start")
        return self

    def reload(self) -> None:
        """Replaces its workers; the old ones finish what they began."""
        assert self._process is not None
        before = self._started()
        self._process.send_signal(signal.SIGHUP)
        wait_until(lambda: self._started() >= before + WORKERS, "nginx's reload")

    def _started(self) -> int:
        return (self.folder / "error.log").read_text().count("start worker process ")

    def stop(self) -> None:
        """Ends it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(patient(10))
