"""Does what the Dockerfile does, without Docker: its steps in folders of their own, then a start of what came out.

    python tests/deploy/rebuild_image.py FOLDER PORT

Needs the package index, so it is a step of `.ci/run` and no test. Paths of the
image become paths below FOLDER; steps that need root (users, owners) are left out.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

ROOT = Path(__file__).resolve().parents[2]

_TOP = ("/opt", "/src", "/srv", "/data", "/logs")


class Image:
    """The folders that stand for the image's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workdir = Path("/")
        self.environ: dict[str, str] = {}
        self.command: list[str] = []

    def inside(self, text: str) -> str:
        """A text whose absolute paths lead below the folder."""
        tops = "|".join(top[1:] for top in _TOP)
        return re.sub(rf"(?<![\w./-])/({tops})(?=[/\s:'\"]|$)", rf"{self.folder}/\1", text)

    def run(self, instruction: str, arguments: str) -> None:
        """Does one instruction."""
        step = getattr(self, f"_{instruction.lower()}", None)
        if step is not None:
            step(arguments)

    def _workdir(self, place: str) -> None:
        self.workdir = Path(self.inside(place))
        self.workdir.mkdir(parents=True, exist_ok=True)

    def _copy(self, arguments: str) -> None:
        if arguments.startswith("--from"):
            return
        *sources, target = shlex.split(arguments)
        for source in sources:
            place = self.workdir / target
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
            else:
                shutil.copy2(ROOT / source, place / source if target.endswith("/") else place)

    def _run(self, command: str) -> None:
        if "useradd" in command:
            for place in ("/data", "/logs"):
                Path(self.inside(place)).mkdir(mode=0o700)
            return
        # The image's own Python stands for the one this script runs with.
        command = re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", self.inside(command))
        print(f"RUN {command}", flush=True)
        subprocess.run(command, shell=True, check=True, cwd=self.workdir)

    def _env(self, arguments: str) -> None:
        for name, value in re.findall(r"(\w+)=(\S+)", arguments):
            self.environ[name] = self.inside(value.replace("$PATH", os.environ["PATH"]))

    def _cmd(self, arguments: str) -> None:
        self.command = [word.strip(' "') for word in arguments.strip("[]").split(",")]


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in lines if line.strip()]


def starts(image: Image, port: str) -> bool:
    """Whether what came out answers."""
    environ = {**image.environ, "PORT": port, "PROXY_API_KEY": "a-long-random-text", "HOST": "0.0.0.0"}
    with subprocess.Popen(image.command, cwd=image.workdir, env=environ) as server:
        try:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline and server.poll() is None:
                try:
                    with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                        return int(answer.status) == 200
                except (URLError, ConnectionError):
                    time.sleep(0.2)
            return False
        finally:
            server.terminate()
            server.wait(40)


def main() -> int:
    image = Image(Path(sys.argv[1]).resolve())
    for instruction, arguments in instructions():
        image.run(instruction, arguments)
    return 0 if starts(image, sys.argv[2]) else 1


if __name__ == "__main__":
    sys.exit(main())
