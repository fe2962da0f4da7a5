"""``codexproxy usage`` tells what the ledger holds."""

import csv
import io
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from codexproxy.cli import main
from codexproxy.cli.usage import first_moment
from codexproxy.metering.prices import AS_OF, PRICES, Price
from codexproxy.storage.sqlite.ledger import Ledger
from tests.storage.test_ledger import ROW

NOW = time.time()
MILLION = replace(ROW, at=NOW, input_tokens=2_000_000, cached_tokens=1_000_000, output_tokens=1_000_000)


def run(folder: Path, *arguments: str) -> Result:
    environ = {"HOME": str(folder), "DATA_DIR": str(folder)}
    return CliRunner().invoke(main, ["usage", *arguments], env=environ)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    ledger.add(
        [
            MILLION,
            replace(MILLION, key="bob", model="home-made", client="aider", status=502),
            replace(ROW, at=NOW - 40 * 86_400),
        ]
    )
    ledger.close()
    return tmp_path


def test_without_a_ledger_nothing_was_used(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.exit_code == 0
    assert done.output.endswith("Nothing has been used yet.\n")
    assert "codexproxy login" in done.output
    assert not list(tmp_path.iterdir())


def test_the_tables_name_days_models_keys_and_clients(folder: Path) -> None:
    text = run(folder).output
    for word in ("day", "gpt-5.2", "bob", "aider", "2,000,000", "15.93", AS_OF, "An estimate", "for: home-made"):
        assert word in text
    assert "15.93" in run(folder, "--by", "key").output
    assert "aider" not in run(folder, "--by", "key").output


def test_json_holds_every_table_and_what_the_estimate_is_worth(folder: Path) -> None:
    found = json.loads(run(folder, "--json").output)
    assert [line["name"] for line in found["by_key"]] == ["ann", "bob"]
    assert found["by_model"][0]["estimated_usd"] == 15.925
    assert found["by_client"][0] == {
        "name": "aider",
        "turns": 1,
        "failed": 1,
        "input_tokens": 2_000_000,
        "cached_tokens": 1_000_000,
        "output_tokens": 1_000_000,
        "estimated_usd": 0.0,
    }
    assert found["estimate"] == {"prices_as_of": AS_OF, "currency": "USD", "models_without_price": ["home-made"]}


def test_csv_is_one_table(folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run(folder, "--csv", "--days", "60").output)))
    assert [row["turns"] for row in rows] == ["1", "2"]
    assert [row["name"] for row in csv.DictReader(io.StringIO(run(folder, "--csv", "--by", "model").output))] == [
        "gpt-5.2",
        "home-made",
    ]


def test_json_and_csv_at_once_is_a_mistake(folder: Path) -> None:
    assert run(folder, "--json", "--csv").exit_code == 2


def test_a_ledger_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite3").mkdir()
    done = run(tmp_path)
    assert done.exit_code == 1
    assert "cannot be used" in done.output


def test_one_day_begins_at_midnight() -> None:
    assert first_moment(1, 1_795_262_400.0 + 5) == 1_795_219_200.0
    assert first_moment(2, 1_795_262_400.0) == 1_795_132_800.0


def test_cached_tokens_are_part_of_the_input() -> None:
    assert Price(2.0, 0.5, 8.0).of(1_000_000, 400_000, 500_000) == pytest.approx(1.2 + 0.2 + 4.0)


def test_every_price_gets_cheaper_from_the_cache() -> None:
    assert all(0 < price.cached < price.input < price.output for price in PRICES.values())
