"""Everything the simulator knows, and the way back to a clean slate."""

import time
from collections.abc import Callable
from typing import Any

from codexproxy.simulator.catalogue import ModelCatalog
from codexproxy.simulator.connection import Answer, Ended
from codexproxy.simulator.device import DeviceCodes
from codexproxy.simulator.gates import Gates
from codexproxy.simulator.http import Request
from codexproxy.simulator.issuer import Codes
from codexproxy.simulator.prompt_cache import PromptCache
from codexproxy.simulator.quota import Quota
from codexproxy.simulator.recorder import Recorder
from codexproxy.simulator.rules import RuleBook
from codexproxy.simulator.scripts import ScriptQueue
from codexproxy.simulator.tokens import TokenStore

Router = Callable[["World", Request], Answer]


class World:
    """The state of one simulator.

    Args:
        router: Answers a request.
        pace_ms: Pause between the deltas of an improvised answer.
        clock: Epoch seconds.
    """

    def __init__(self, router: Router, pace_ms: float = 0, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.pace_ms = pace_ms
        self._router = router
        self._first_pace = pace_ms
        self.rules = RuleBook()
        self.gates = Gates()
        self.recorder = Recorder(clock)
        self.performing: set[Any] = set()
        self.reset()

    def reset(self) -> None:
        """Forgets everything (tokens, rules, scripts, requests) and ends the streams under way."""
        for greenlet in self.performing:
            greenlet.kill(Ended(), block=False)
        self.rules.reset()
        self.gates.reset()
        still_open = self.recorder.open_connections
        self.recorder = Recorder(self.clock, open_connections=still_open)
        self.tokens = TokenStore(self.clock)
        self.codes = Codes()
        self.devices = DeviceCodes(self.clock)
        self.catalogue = ModelCatalog()
        self.quota = Quota()
        self.cache = PromptCache()
        self.scripts = ScriptQueue()
        self.official_instructions: str | None = None
        self.pace_ms = self._first_pace
        self.person: dict[str, Any] = {}

    def answer(self, request: Request) -> Answer:
        """Answers one request."""
        return self._router(self, request)
