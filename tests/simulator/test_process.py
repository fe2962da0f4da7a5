"""The simulator as a process: it says where it listens, and never outlives those who need it."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codexproxy.simulator.client import ControlRefused, SimulatorClient
from codexproxy.simulator.process import SimulatorFailed, SimulatorProcess
from codexproxy.simulator.rules import RULES
from tests.patience import patient
from tests.simulator.talk import Talker

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "codexproxy.simulator", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


def wait_until_gone(pid: int, seconds: float = 5) -> None:
    deadline = time.monotonic() + patient(seconds)
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.01)


def test_it_says_where_it_listens() -> None:
    with SimulatorProcess() as process:
        assert process.base_url.startswith("http://127.0.0.1:")
        assert SimulatorClient(process.base_url).counters()["total_requests"] == 0
    wait_until_gone(process.pid)
    process.close()


def test_it_does_not_outlive_a_parent_that_is_killed() -> None:
    program = (
        "import os, signal\n"
        "from codexproxy.simulator.process import SimulatorProcess\n"
        "print(SimulatorProcess().pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)

    assert parent.returncode == -signal.SIGKILL
    wait_until_gone(int(parent.stdout))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_also_with_streams_open(number: int) -> None:
    child = run()
    assert child.stdout is not None
    base_url = child.stdout.readline().split()[-1]
    sim = SimulatorClient(base_url)
    sim.rules(socket_left_open=True)
    with Talker(sim).open():
        sim.wait_for(lambda counters: counters["open_streams"] == 1)
        child.send_signal(number)
        assert child.wait(patient(5)) == 0
    child.stdout.close()


def test_a_taken_port_is_an_error_with_a_reason(simulator: SimulatorProcess) -> None:
    port = int(simulator.base_url.rsplit(":", 1)[1])

    with pytest.raises(SimulatorFailed):
        SimulatorProcess(port=port)


def test_the_list_of_rules_names_each_with_its_default() -> None:
    child = run("--list-rules")
    lines = (child.communicate()[0]).splitlines()

    assert [line.split()[0] for line in lines] == list(RULES)
    assert [line.split()[1] == "on" for line in lines] == [rule.default for rule in RULES.values()]
    assert child.returncode == 0


def test_it_speaks_tls(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is needed to make a certificate")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
        + ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    with SimulatorProcess(tls=(str(certificate), str(key))) as process:
        sim = SimulatorClient(process.base_url, cafile=str(certificate))
        tokens = sim.login()
        assert process.base_url.startswith("https://")
        sim.rules(socket_left_open=True)
        body = (
            '{"model":"gpt-5.5","instructions":"","store":false,"stream":true,"input":[{"role":"user","content":"x"}]}'
        )
        curl = subprocess.Popen(
            ["curl", "-sN", "--cacert", str(certificate), f"{sim.backend_url}/codex/responses", "-d", body]
            + [
                "-H",
                f"authorization: Bearer {tokens['access_token']}",
                "-H",
                f"chatgpt-account-id: {tokens['account_id']}",
            ],
            stdout=subprocess.PIPE,
        )
        assert curl.stdout is not None
        while b"response.completed" not in curl.stdout.readline():
            assert curl.poll() is None
        assert sim.counters()["open_streams"] == 1
        curl.kill()
        curl.wait()
        curl.stdout.close()
        assert sim.wait_for(lambda counters: counters["open_streams"] == 0)["disconnects"] == 1


def test_control_explains_what_it_does_not_understand(sim: SimulatorClient) -> None:
    with pytest.raises(ControlRefused, match="no rule is called 'typo'"):
        sim.rules(typo=True)
    with pytest.raises(ControlRefused, match="no setting 'typo'"):
        sim.settings(typo=1)
    with pytest.raises(ControlRefused, match="no endpoint 'typo'"):
        sim.script({"status": 200}, endpoint="typo")
    with pytest.raises(ControlRefused, match="quota has no field"):
        sim.settings(quota={"typo": 1})


def test_waiting_in_vain_ends_with_the_counters_in_the_message(sim: SimulatorClient) -> None:
    with pytest.raises(TimeoutError, match="open_streams"):
        sim.wait_for(lambda counters: False, 0.05)


def test_the_child_is_found_from_any_folder(tmp_path: Path) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from codexproxy.simulator.process import SimulatorProcess\n"
        "with SimulatorProcess() as process: print(process.base_url)\n"
    )
    found = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=tmp_path, check=True)
    assert found.stdout.startswith("http://127.0.0.1:")
