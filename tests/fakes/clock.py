"""A clock that moves only when it is told to."""


class Clock:
    """Seconds; call it for the time, ``sleep`` moves it on."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
