"""Each way for an upstream to fail has one outcome, which docs/faults.md shows."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.faults.outcome import Fault, Told
from tests.faults.playing import WAYS, Got, House, Way
from tests.faults.table import BROKEN, UPSTREAM


@dataclass(frozen=True)
class Played:
    """A row and what became of it."""

    fault: Fault
    got: dict[Way, Got]
    log: str


@pytest.fixture(scope="module", params=UPSTREAM, ids=lambda fault: fault.slug)
def played(upstream_house: House, request: pytest.FixtureRequest) -> Iterator[Played]:
    fault: Fault = request.param
    upstream_house.fresh_log()
    if fault.script is not None:
        upstream_house.sim.script(fault.script, match=fault.slug, repeat=-1)
    got = upstream_house.play(fault.slug, fault.upstream)
    upstream_house.is_calm()
    yield Played(fault, got, upstream_house.fresh_log())


def expected(fault: Fault, way: Way) -> Told:
    return fault.stream if way.stream else fault.plain


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_client_is_told_what_the_table_says(played: Played, way: Way) -> None:
    want, got = expected(played.fault, way), played.got[way]
    told = got.told
    assert (told.status, told.code) == (want.status, want.code), got.answer.body[-500:]
    assert want.says in told.says
    assert told.comments == (want.comments and way.stream)
    assert got.is_ended, got.answer.body[-500:]
    assert got.seconds < played.fault.seconds


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_words_that_came_before_are_delivered(played: Played, way: Way) -> None:
    want, got, script = expected(played.fault, way), played.got[way], played.fault.script or {}
    if want.code == "":
        assert got.text == "".join(script["items"][0]["deltas"])
    elif way.stream and want.status == 200:
        said = got.text
        # How far a paced answer gets is a matter of time.
        assert said.startswith(played.fault.delivered) if "pace_ms" in script else said == played.fault.delivered


@pytest.mark.parametrize("way", [way for way in WAYS if way.dialect == "responses"], ids=str)
def test_an_answer_is_stored_when_it_is_whole_and_only_then(played: Played, way: Way, upstream_house: House) -> None:
    want, got = expected(played.fault, way), played.got[way]
    id = got.response_id
    if id is None:
        assert want.code
        return
    stored = upstream_house.service.get(f"/v1/responses/{id}", upstream_house.headers(played.fault.upstream))
    assert stored.status == (404 if want.code else 200)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_upstream_is_asked_no_more_often_than_the_table_says(played: Played, way: Way) -> None:
    assert played.got[way].asked == played.fault.asked


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_log_has_a_line_with_the_reason(played: Played, way: Way) -> None:
    want, log = expected(played.fault, way), played.got[way].log
    assert f"request end status={want.status}" + (f" code={want.code}" if want.code else "") in log
    assert played.fault.logged in log


def test_the_log_holds_neither_secrets_nor_tracebacks(played: Played, upstream_house: House) -> None:
    tokens = (upstream_house.service.data_dir / "tokens.json").read_text()
    assert "Traceback" not in played.log
    assert not [line for line in tokens.split('"') if len(line) > 40 and line in played.log]


def test_no_connection_to_upstream_is_left_behind(played: Played, upstream_house: House) -> None:
    # One that is warm for each client that asked at the same time, and the one that asks for the counters.
    assert upstream_house.sim.counters()["open_connections"] <= len(WAYS) + 1


def test_the_next_honest_request_is_answered(played: Played, upstream_house: House) -> None:
    upstream_house.is_well()


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize(
    ("dialect", "fields"),
    [
        ("chat", {}),
        ("chat", {"stop": ["never said"]}),
        ("chat", {"max_tokens": 500}),
        ("responses", {"max_output_tokens": 500}),
    ],
)
def test_good_words_are_delivered_before_an_event_that_is_none(
    upstream_house: House, dialect: str, fields: dict[str, object], broken: str
) -> None:
    marker = f"good-words-{broken.replace(' ', '-')}"
    upstream_house.sim.script(BROKEN[broken], match=marker, repeat=-1)
    got = upstream_house.ask(Way(dialect, stream=True), marker, fields=fields)
    assert (got.told.code, got.text, got.is_ended) == ("upstream_truncated", "one ", True)
    upstream_house.is_calm()
