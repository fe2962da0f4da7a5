"""A certificate for loopback, signed by an authority of its own, made with the openssl command."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_USE = "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n"


@dataclass(frozen=True)
class Certificate:
    """The files a server and its clients need."""

    authority: Path
    certificate: Path
    key: Path


def make_certificate(folder: Path) -> Certificate:
    """A fresh certificate; skips the test where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not on this machine")
    made = Certificate(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    request, authority_key, use = folder / "request.pem", folder / "ca.key", folder / "use.txt"
    use.write_text(_USE)
    _openssl("req", "-x509", *_CURVE, "-keyout", authority_key, "-out", made.authority, "-days", "2",
             "-subj", "/CN=tests", "-addext", "basicConstraints=critical,CA:TRUE")  # fmt: skip
    _openssl("req", *_CURVE, "-keyout", made.key, "-out", request, "-subj", "/CN=localhost")
    _openssl("x509", "-req", "-in", request, "-CA", made.authority, "-CAkey", authority_key, "-CAcreateserial",
             "-out", made.certificate, "-days", "2", "-extfile", use)  # fmt: skip
    return made


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
