"""``tests/smoke/curl.sh`` against a running deployment."""

import os
import subprocess

from tests.service import ROOT

KEY = "a-long-random-text"


def smoke(base_url: str, **environ: str) -> None:
    """Runs every check of the script; fails with what it printed."""
    done = subprocess.run(
        ["bash", str(ROOT / "tests/smoke/curl.sh"), base_url, KEY],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed" in done.stdout
