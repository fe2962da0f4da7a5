from codexproxy.login.backoff import Pause

NOW = 1_800_000_000_000


def test_waits_double_up_to_the_longest() -> None:
    pause, now, waits = Pause(1000, 6000, chance=lambda: 0.0), NOW, []
    for _ in range(5):
        pause.lengthen(now)
        waits.append(pause.remaining(now))
        now += waits[-1]
        assert pause.remaining(now) == 0
    assert waits == [1000, 2000, 4000, 6000, 6000]


def test_success_and_quiet_begin_anew() -> None:
    pause = Pause(1000, 6000, chance=lambda: 0.0)
    pause.lengthen(NOW)
    pause.lengthen(NOW + 1000)
    assert pause.remaining(NOW + 1000) == 2000
    pause.lengthen(NOW + 20_000)
    assert pause.remaining(NOW + 20_000) == 1000
    pause.reset()
    assert pause.remaining(NOW + 20_000) == 0


def test_chance_cuts_at_most_a_quarter() -> None:
    pause = Pause(1000, 6000, chance=lambda: 0.999)
    pause.lengthen(NOW)
    assert 750 <= pause.remaining(NOW) < 1000


def test_a_clock_set_back_ends_the_wait() -> None:
    pause = Pause(1000, 6000)
    pause.lengthen(NOW)
    assert pause.remaining(NOW - 86_400_000) == 0
