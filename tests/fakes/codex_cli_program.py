"""The executable of ``codex_cli.FakeCli``: plays scenarios as ``codex exec`` and ``codex app-server``.

Runs as a script with the bare standard library, so that it starts in milliseconds.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from codex_cli_voices import AppVoice, ExecVoice, write

VERSION = "0.169.0"


class Player:
    """Plays the scenario in the words of one transport."""

    def __init__(self, home: Path, voice: "ExecVoice | AppVoice") -> None:
        self.home = home
        self.voice = voice
        self.number = 0

    def play(self, steps: list[dict[str, object]]) -> None:
        for step in steps:
            self.number += 1
            key = next(name for name in STEPS if name in step)
            STEPS[key](self, step)

    def tell(self, step: dict[str, object]) -> None:
        self.voice.tell(step, str(step.get("id") or f"item_{self.number}"))

    def raw(self, step: dict[str, object]) -> None:
        for _ in range(int(str(step.get("repeat", 1)))):
            sys.stdout.write(str(step["raw"]))
        sys.stdout.write(str(step.get("end", "")))
        sys.stdout.flush()

    def stderr(self, step: dict[str, object]) -> None:
        sys.stderr.write(str(step["stderr"]))
        sys.stderr.flush()

    def pause(self, step: dict[str, object]) -> None:
        time.sleep(float(str(step["pause"])))

    def gate(self, step: dict[str, object]) -> None:
        while not (self.home / "gates" / str(step["gate"])).exists():
            time.sleep(0.005)

    def hang(self, step: dict[str, object]) -> None:
        while True:
            time.sleep(60)

    def deaf(self, step: dict[str, object]) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def leave(self, step: dict[str, object]) -> None:
        subprocess.Popen(["sleep", str(step["leave"])], start_new_session=True, stdin=subprocess.DEVNULL)

    def exit(self, step: dict[str, object]) -> None:
        sys.stdout.flush()
        os._exit(int(str(step["exit"])))

    def die(self, step: dict[str, object]) -> None:
        sys.stdout.flush()
        os.kill(os.getpid(), int(str(step["die"])))


STEPS = {
    **dict.fromkeys(("say", "think", "command", "change", "search", "warn", "retrying", "fail", "done"), Player.tell),
    **{
        name: getattr(Player, name)
        for name in ("raw", "stderr", "pause", "gate", "hang", "deaf", "leave", "exit", "die")
    },
}


class Machine:
    """The executable."""

    def __init__(self, argv: list[str]) -> None:
        self.argv = argv
        self.home = Path(os.environ["CODEX_HOME"])
        self.calls = 0
        self.alive = self.enlist()

    def look_up(self, name: str, default):  # type: ignore[no-untyped-def]
        path = self.home / f"{name}.json"
        return json.loads(path.read_text()) if path.exists() else default

    def enlist(self) -> int:
        """Notes how many of us are alive; a lock ends with its process, however that ends."""
        mine = os.open(self.home / "alive" / str(os.getpid()), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(mine, fcntl.LOCK_EX)
        count = sum(map(is_locked, (self.home / "alive").iterdir()))
        with (self.home / "counts").open("a") as counts:
            counts.write(f"{count}\n")
        return mine

    def note(self, **facts: object) -> None:
        self.calls += 1
        call = {"argv": self.argv, "pid": os.getpid(), "cwd": os.getcwd(), "env": dict(os.environ), **facts}
        path = self.home / "calls" / f"{time.monotonic_ns():020d}-{os.getpid()}-{self.calls}.json"
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(call))
        draft.rename(path)

    def run(self) -> int:
        command = self.argv[0] if self.argv else ""
        if command in self.look_up("without", []):
            sys.stderr.write(f"error: unexpected argument '{command}' found\n")
            return 2
        if command == "--version":
            print(f"codex-cli {self.look_up('version', VERSION)}")
            return 0
        if command == "exec":
            return self.exec()
        if command == "app-server":
            return AppMachine(self).serve()
        if command in ("debug", "models"):
            print(
                json.dumps(
                    {"models": self.look_up("models", [{"slug": "gpt-5.5", "default_reasoning_level": "medium"}])}
                )
            )
            return 0
        sys.stderr.write(f"error: unexpected argument '{command}' found\n")
        return 2

    def exec(self) -> int:
        prompt = sys.stdin.buffer.read().decode("utf-8", "replace")
        files = {part.split("=", 1)[1] for part in self.argv if part.startswith(("--image=", "--output-schema="))}
        self.note(prompt=prompt, files={path: contents(path) for path in sorted(files)})
        write({"type": "thread.started", "thread_id": "thread"})
        write({"type": "turn.started"})
        steps = self.look_up("scenario", [])
        Player(self.home, ExecVoice()).play(steps)
        return 1 if any("fail" in step for step in steps) else 0


class AppMachine:
    """The app-server of the executable."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.voice = AppVoice()
        self.threads = 0

    def serve(self) -> int:
        for line in sys.stdin:
            message = json.loads(line)
            answer = getattr(self, "on_" + message.get("method", "").replace("/", "_"), None)
            if answer is not None:
                answer(message)
        return 0

    def reply(self, message, result):  # type: ignore[no-untyped-def]
        write({"id": message["id"], "result": result})

    def refuse(self, message, text):  # type: ignore[no-untyped-def]
        write({"id": message["id"], "error": {"code": -32600, "message": text}})

    def on_initialize(self, message):  # type: ignore[no-untyped-def]
        self.reply(message, {"userAgent": "fake", "codexHome": str(self.machine.home)})

    def on_thread_start(self, message):  # type: ignore[no-untyped-def]
        refusal = self.machine.look_up("refuse_thread", None)
        if refusal:
            return self.refuse(message, refusal)
        self.threads += 1
        self.voice.thread = f"thread-{self.threads}"
        self.params = message["params"]
        return self.reply(message, {"thread": {"id": self.voice.thread}})

    def on_turn_start(self, message):  # type: ignore[no-untyped-def]
        parts = message["params"]["input"]
        files = [part["path"] for part in parts if part["type"] == "localImage"]
        texts = [part["text"] for part in parts if part["type"] == "text"]
        schema = message["params"].get("outputSchema")
        self.machine.note(
            prompt="".join(texts), files={path: contents(path) for path in files}, thread=self.params, schema=schema
        )
        self.reply(message, {"turn": {"id": "turn", "status": "inProgress"}})
        # Asked meanwhile, as some tools do: nobody here may approve anything.
        write({"id": 900, "method": "item/commandExecution/requestApproval", "params": {"threadId": self.voice.thread}})
        write(
            {
                "method": "item/agentMessage/delta",
                "params": {"threadId": "another", "itemId": "x", "delta": "not yours"},
            }
        )
        self.voice.notify("turn/started", turn={"id": "turn"})
        Player(self.machine.home, self.voice).play(self.machine.look_up("scenario", []))

    def on_thread_unsubscribe(self, message):  # type: ignore[no-untyped-def]
        self.reply(message, {"status": "unsubscribed"})

    def on_model_list(self, message):  # type: ignore[no-untyped-def]
        efforts = [{"reasoningEffort": "low", "description": "quick"}]
        row = {
            "model": "gpt-5.5",
            "hidden": False,
            "supportedReasoningEfforts": efforts,
            "defaultReasoningEffort": "low",
        }
        self.reply(message, {"data": [row]})

    def on_account_rateLimits_read(self, message):  # type: ignore[no-untyped-def]  # noqa: N802 - the method's name
        primary = {"usedPercent": 12, "windowDurationMins": 300, "resetsAt": 1795238322}
        limits = {"limitId": "codex", "primary": primary, "secondary": None, "planType": "plus"}
        self.reply(message, {"rateLimits": limits})


def contents(path: str) -> str:
    """A file's bytes as hexadecimal digits."""
    return Path(path).read_bytes().hex()


def is_locked(path: Path) -> bool:
    """Whether somebody holds this file's lock."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def sandbox(argv: list[str]) -> int:
    """``codex sandbox``: says the last word, as a command that reads nothing would; ``open`` reads all the same."""
    home = Path(os.environ["CODEX_HOME"])
    if (home / "without.json").exists() and "sandbox" in json.loads((home / "without.json").read_text()):
        sys.stderr.write("error: unrecognized subcommand 'sandbox'\n")
        return 2
    if (home / "open.json").exists():
        print(Path(argv[-2]).read_text())
    print(argv[-1])
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["sandbox"]:
        sys.exit(sandbox(sys.argv[1:]))
    sys.exit(Machine(sys.argv[1:]).run())
