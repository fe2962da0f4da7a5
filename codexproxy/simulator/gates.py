"""Named gates: a stalled answer waits at one until a test opens it."""

from gevent.event import Event


class Gates:
    """Gates by name; a gate nobody has opened is shut."""

    def __init__(self) -> None:
        self._gates: dict[str, Event] = {}

    def _gate(self, name: str) -> Event:
        return self._gates.setdefault(name, Event())

    def open(self, name: str) -> None:
        """Lets everybody through who waits or will come."""
        self._gate(name).set()

    def is_open(self, name: str | None) -> bool:
        """Whether a gate stands open; None names none."""
        return name is not None and self._gate(name).is_set()

    def wait(self, name: str | None, seconds: float | None) -> None:
        """Waits for a gate, or for ever where None is named; at most some seconds."""
        gate = Event() if name is None else self._gate(name)
        gate.wait(seconds)

    def reset(self) -> None:
        """Lets all waiting through and forgets all gates."""
        for gate in self._gates.values():
            gate.set()
        self._gates.clear()
