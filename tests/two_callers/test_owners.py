"""A key owns what it made; another of its name, made later, owns nothing of that."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from codexproxy.access.authorization import made_at
from codexproxy.access.key_file import KeyFile
from codexproxy.access.keys import hash_key
from codexproxy.simulator.client import SimulatorClient
from tests.service import Answer, Service, wait_until

RESPONSES = "/v1/responses"
ASK: dict[str, Any] = {"model": "gpt-5.2", "input": "a secret"}
DRY = {"x-codexproxy-dry-run": "1"}


@pytest.fixture
def service(serve: Callable[..., Service]) -> Iterator[Service]:
    yield serve(PROXY_API_KEY="the-key-of-the-owner")


@pytest.fixture
def keys(service: Service) -> KeyFile:
    return KeyFile(service.data_dir / "keys.json")


def ask(service: Service, key: str, body: dict[str, Any], **headers: str) -> Answer:
    return service.post(RESPONSES, body, {"authorization": f"Bearer {key}", **headers})


def get(service: Service, key: str, path: str) -> Answer:
    return service.get(path, {"authorization": f"Bearer {key}"})


def cache_key(service: Service, key: str) -> str:
    shown = service.post(RESPONSES, {**ASK, "prompt_cache_key": "mine"}, {"authorization": f"Bearer {key}", **DRY})
    return str(shown.json["upstream"][0]["body"]["prompt_cache_key"])


def test_a_name_that_is_made_anew_owns_nothing_of_the_earlier_one(service: Service, keys: KeyFile) -> None:
    first = keys.add("zed", ratePerMinute=3)
    kept = ask(service, first, ASK).json["id"]
    assert get(service, first, f"{RESPONSES}/{kept}").status == 200
    assert [use["name"] for use in wait_until(lambda: get(service, first, "/v1/quota").json["use"], "its use")] == [
        "zed"
    ]
    before = cache_key(service, first)
    keys.remove("zed")
    second = keys.add("zed", ratePerMinute=3)
    for path in (f"{RESPONSES}/{kept}", f"{RESPONSES}/{kept}/input_items", f"{RESPONSES}/{kept}?stream=true"):
        assert get(service, second, path).status == 404
    assert service.request("DELETE", f"{RESPONSES}/{kept}", None, {"authorization": f"Bearer {second}"}).status == 404
    assert get(service, second, "/v1/quota").json["use"] == []
    assert ask(service, second, {**ASK, "previous_response_id": kept}).status in (400, 404)
    assert cache_key(service, second) != before
    assert ask(service, second, ASK).headers["x-ratelimit-remaining-requests"] == "2"


def test_a_key_of_an_older_file_keeps_what_it_owns_also_with_a_new_key(
    service: Service, keys: KeyFile, sim: SimulatorClient
) -> None:
    record = {"name": "zed", "apiKeyHash": hash_key("old"), "note": "mine"}
    (service.data_dir / "keys.json").write_text(json.dumps({"users": [record]}))
    kept = ask(service, "old", ASK).json["id"]
    newer = keys.rotate("zed")
    assert get(service, newer, f"{RESPONSES}/{kept}").status == 200
    assert keys.records()[0]["note"] == "mine"
    assert '"id"' not in (service.data_dir / "keys.json").read_text()
    keys.disable("zed")
    keys.disable("zed", disabled=False)
    assert get(service, newer, f"{RESPONSES}/{kept}").status == 200
    keys.remove("zed")
    assert get(service, keys.add("zed"), f"{RESPONSES}/{kept}").status == 404


def test_a_key_keeps_its_id_and_two_never_have_the_same(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    for name in ("ann", "bob", "zed"):
        keys.add(name)
    ids = [user.id for user in keys.users()]
    keys.rotate("zed")
    keys.disable("ann")
    assert [user.id for user in keys.users()] == ids
    assert len(set(ids)) == 3
    assert all(made_at(id) > 1.7e9 for id in ids)
    assert made_at("") == made_at("zed") == 0.0
