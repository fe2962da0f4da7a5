"""nginx as a pass-through: the least that a proxy can cost."""

import os
import shutil
from pathlib import Path

from bench.targets.server import UPSTREAM, Server, free_port

_CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_rlimit_nofile 20000;
events {{ worker_connections 20000; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_body_buffer_size 1m;
  client_max_body_size 64m;
  keepalive_requests 1000000;
  upstream source {{
    server 127.0.0.1:{source_port};
    keepalive 1024;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://source;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 600s;
    }}
  }}
}}
"""


def nginx(source_port: int, folder: Path) -> Server | None:
    """nginx in front of the source; None where it is not installed (Debian: ``nginx-light``)."""
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        return None
    port = free_port()
    path = folder / "nginx.conf"
    path.write_text(_CONFIGURATION.format(folder=folder, port=port, source_port=source_port))
    paths = {"chat": UPSTREAM, "responses": UPSTREAM}
    command = [program, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(path)]
    return Server("nginx", port, paths, command, {"PATH": os.environ["PATH"]}, folder)
