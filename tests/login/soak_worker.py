"""One process of the soak: greenlets that call the simulator as a backend would, and a tally at the end.

Usage: python -m tests.login.soak_worker SIMULATOR_URL DATA_DIR GREENLETS PAUSE_SECONDS [REQUESTS_EACH]

It says ``ready``, starts at a line on its input, stops after REQUESTS_EACH or
at the end of its input, and prints its tally as JSON.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402 - patching comes first
import sys  # noqa: E402
import time  # noqa: E402
from collections import Counter  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402
import requests  # noqa: E402
from gevent.event import Event  # noqa: E402
from requests.adapters import HTTPAdapter  # noqa: E402

from codexproxy.errors import LoginExpired, ProxyError  # noqa: E402
from codexproxy.login.background_refresh import BackgroundRefresh  # noqa: E402
from codexproxy.login.credentials import Credentials  # noqa: E402
from codexproxy.login.oauth.client import OAuthClient, new_session  # noqa: E402
from codexproxy.login.tokens.external_store import LinkedTokenStore  # noqa: E402
from codexproxy.storage.files.locks import Leadership  # noqa: E402
from tests.patience import patient  # noqa: E402

# A machine that stands still for most of a token's life proves nothing about us.
STALL = 1.5


class Worker:
    """Calls upstream, recovers once from a 401, and counts what became of each request."""

    def __init__(self, url: str, folder: Path) -> None:
        self.tally: Counter[str] = Counter()
        self._url = f"{url}/backend-api/wham/usage"
        self._session = new_session()
        self._session.mount("http://", HTTPAdapter(pool_maxsize=100))
        self.credentials = Credentials(LinkedTokenStore.in_folder(folder), OAuthClient(new_session(), issuer=url))

    def request(self) -> None:
        """One request as a backend makes it."""
        try:
            self.tally[self._outcome()] += 1
        except LoginExpired as failure:
            assert "codexproxy login" in failure.message
            self.tally["login_expired"] += 1
        except (ProxyError, requests.RequestException) as failure:
            self.tally[f"failed: {type(failure).__name__}: {failure}"] += 1

    def _outcome(self) -> str:
        access = self.credentials.current()
        if self._status(access.token, access.account_id) != 401:
            return "ok"
        self.tally["recoveries"] += 1
        began = time.monotonic()
        access = self.credentials.recover(access.token)
        status = self._status(access.token, access.account_id)
        if status == 401 and time.monotonic() - began > STALL:
            return "stalled"
        return "ok" if status == 200 else f"failed: {status}"

    def _status(self, token: str, account_id: str) -> int:
        headers = {"authorization": f"Bearer {token}", "chatgpt-account-id": account_id}
        return self._session.get(self._url, headers=headers, timeout=patient(30)).status_code


def main(url: str, folder: str, greenlets: str, pause: str, limit: str = "") -> None:
    """Runs until the end of the input."""
    worker, stop = Worker(url, Path(folder)), Event()

    def live(number: int) -> None:
        done = 0
        while not stop.is_set() and (not limit or done < int(limit)):
            worker.request()
            done += 1
            stop.wait(float(pause))

    print("ready", flush=True)
    gevent.get_hub().threadpool.apply(sys.stdin.readline)
    watch = BackgroundRefresh(worker.credentials, Leadership(Path(folder) / "refresh.leader"))
    if not limit:
        watch.start()
    running = [gevent.spawn(live, number) for number in range(int(greenlets))]
    if not limit:
        gevent.get_hub().threadpool.apply(sys.stdin.read)
    stop.set() if not limit else None
    gevent.joinall(running, raise_error=True)
    watch.stop()
    worker.credentials.settle(10)
    print(json.dumps(worker.tally), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
