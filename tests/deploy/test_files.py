"""The files for systemd, cloudflared and containers: what they name exists, and their tools accept them."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from codexproxy.settings import load_settings
from tests.patience import patient
from tests.service import ROOT

UNIT = ROOT / "deploy" / "codexproxy.service"


def dockerfile() -> list[tuple[str, str]]:
    """Instructions and their arguments, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines if line.strip()]


def compose() -> Any:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["codexproxy"]


def copied() -> list[str]:
    """What the image takes from the checkout."""
    sources = []
    for instruction, arguments in dockerfile():
        if instruction == "COPY" and not arguments.startswith("--from"):
            sources += shlex.split(arguments)[:-1]
    return sources


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / UNIT.name
    text = UNIT.read_text()
    gunicorn = "/opt/codexproxy/.venv/bin/gunicorn"
    assert gunicorn in text
    # Units cannot name paths with a space, which the checkout may have.
    python, checkout = tmp_path / "python", tmp_path / "checkout"
    python.symlink_to(sys.executable)
    checkout.symlink_to(ROOT)
    unit.write_text(text.replace(gunicorn, str(python)).replace("/opt/codexproxy", str(checkout)))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=patient(60), check=False
    )
    ours = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, ours) == (0, [])


def test_systemd_finds_the_unit_little_exposed(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=30", "--no-pager", str(UNIT)],
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    exposure = re.search(r"Overall exposure level[^:]*: ([0-9.]+)", done.stdout)
    assert exposure, done.stderr
    assert float(exposure[1]) < 3


def test_the_unit_and_nginx_share_one_socket() -> None:
    socket = re.search(r"--bind unix:(\S+)", UNIT.read_text())
    assert socket
    assert f"server unix:{socket[1]} " in (ROOT / "deploy/nginx.conf").read_text()


def test_a_tunnel_leads_to_our_port_and_ends_with_a_rule_for_everything_else() -> None:
    tunnel = yaml.safe_load((ROOT / "deploy/cloudflared.yml").read_text())
    first, last = tunnel["ingress"]
    assert first["service"] == f"http://127.0.0.1:{load_settings({}).port}"
    assert last == {"service": "http_status:404"}


def test_the_linter_of_dockerfiles_has_nothing_to_say() -> None:
    if shutil.which("hadolint", path=f"{Path(sys.executable).parent}") is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "hadolint"), str(ROOT / "Dockerfile")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_everything_the_image_copies_exists_and_is_let_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied()
    for source in copied():
        assert (ROOT / source).exists(), source
        assert source in let_in, source
    assert let_in == set(copied())


def test_the_compose_file_says_what_the_image_needs() -> None:
    service = compose()
    # In plain HTTP, so for this machine only.
    assert service["ports"] == ["127.0.0.1:3000:3000", "127.0.0.1:1455:1455"]
    assert service["pids_limit"] and service["mem_limit"]
    assert service["cap_drop"] == ["ALL"]
    assert service["environment"]["HOST"] == "0.0.0.0"
    assert service["environment"]["PROXY_API_KEY"].startswith("${PROXY_API_KEY:?")
    assert service["restart"] == "unless-stopped"
    assert service["environment"]["LOG_DIR"] == "/logs"
    assert service["read_only"] is True
    check = service["healthcheck"]
    assert "/health" in check["test"][-1]
    assert (check["interval"], check["timeout"], check["start_period"], check["retries"]) == ("30s", "10s", "5s", 3)
    exposed = next(arguments for instruction, arguments in dockerfile() if instruction == "EXPOSE")
    assert exposed.split() == [port.split(":")[-1] for port in service["ports"]]
    volumes = next(arguments for instruction, arguments in dockerfile() if instruction == "VOLUME")
    mounted = [volume.split(":") for volume in service["volumes"]]
    assert json.loads(volumes) == [place for name, place, *_ in mounted if not name.startswith(".")]


def test_the_mounted_config_file_is_valid(tmp_path: Path) -> None:
    sources = [volume.split(":") for volume in compose()["volumes"] if volume.startswith("./")]
    ((source, place, mode),) = sources
    assert (place, mode) == (compose()["environment"]["CONFIG_PATH"], "ro")
    settings = load_settings({"CONFIG_PATH": str(ROOT / source), "HOME": str(tmp_path)})
    assert settings.log_level == "info"
