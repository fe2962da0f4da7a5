"""The journal of turns: what a killed worker leaves can be read by others, and nothing else can."""

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexproxy.storage.sqlite.ledger import Ledger, TurnRecord
from codexproxy.storage.turn_journal import ENDED, MAGIC, RUNNING, SLOT, Account, Journal, Slot, leftovers

ROW = TurnRecord(1.5, "ann", "cursor", "chat", "gpt-5.2", "high", "", 0, "", 0, 0, 0, 0, None, 3, "a,b")
COSTLY = replace(ROW, input_tokens=70, output_tokens=9, total_ms=40)
ANN = Account("0190-ann", 1000)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path, lambda: None, most=3)
    yield journal
    if journal._file is not None:
        journal.close()


def file_of(folder: Path) -> Path:
    (path,) = folder.glob("*.turns")
    return path


def killed(folder: Path) -> list[Slot]:
    """What others would find, were the journal's process killed now."""
    path = file_of(folder)
    aside = folder / "aside"
    aside.mkdir(exist_ok=True)
    (aside / path.name).write_bytes(path.read_bytes())
    return [slot for left in leftovers(aside) for slot in left.slots]


def test_a_turn_is_found_as_it_was_noted_last(journal: Journal, tmp_path: Path) -> None:
    slot = journal.begin(ROW, ANN)
    assert killed(tmp_path) == [Slot(ROW, ANN, 1, RUNNING)]
    journal.note(slot, COSTLY)
    assert killed(tmp_path) == [Slot(COSTLY, ANN, 1, RUNNING)]
    begun = replace(COSTLY, status=200, first_ms=12, backend="one")
    journal.note(slot, begun)
    journal.note(slot, begun, charged=True)
    assert killed(tmp_path) == [Slot(begun, ANN, 1, RUNNING, charged=True)]
    journal.end(slot, begun)
    assert killed(tmp_path) == [Slot(begun, ANN, 1, ENDED, charged=True)]
    journal.free(slot)
    journal.free(slot)
    assert killed(tmp_path) == []


def test_the_file_is_private(journal: Journal, tmp_path: Path) -> None:
    journal.begin(ROW, ANN)
    assert stat.S_IMODE(file_of(tmp_path).stat().st_mode) == 0o600


def test_slots_are_used_again_and_have_a_bound(journal: Journal, tmp_path: Path) -> None:
    slots = [journal.begin(replace(ROW, at=float(at)), ANN) for at in range(5)]
    assert [slot.number for slot in slots] == [1, 2, 3, 0, 0]
    for slot in slots:
        journal.note(slot, COSTLY)
        journal.end(slot, COSTLY)
        journal.free(slot)
    assert killed(tmp_path) == []
    assert journal.begin(ROW, ANN).number in (1, 2, 3)
    assert file_of(tmp_path).stat().st_size <= 4 * SLOT


def test_a_living_worker_is_left_alone(journal: Journal, tmp_path: Path) -> None:
    journal.begin(ROW, ANN)
    assert list(leftovers(tmp_path)) == []


def test_what_is_being_settled_is_nobody_elses(journal: Journal, tmp_path: Path) -> None:
    journal.begin(ROW, ANN)
    assert journal._file is not None
    os.close(journal._file)
    journal._file = None
    finding = leftovers(tmp_path)
    left = next(finding)
    assert list(leftovers(tmp_path)) == []
    left.charged(left.slots[0])
    finding.close()
    (again,) = leftovers(tmp_path)
    assert [slot.charged for slot in again.slots] == [True]
    again.remove()
    assert list(leftovers(tmp_path)) == []


def test_a_journal_with_turns_in_it_outlives_a_graceful_end(journal: Journal, tmp_path: Path) -> None:
    journal.end(None, ROW)
    journal.close()
    assert [slot.row for left in leftovers(tmp_path) for slot in left.slots] == [ROW]


@pytest.mark.parametrize("content", [b"", b"x", b"codexproxy turns 2\n" + b"\1" * 4096, os.urandom(5000), MAGIC])
def test_a_file_of_another_kind_holds_no_turns_and_can_be_removed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1-x.turns").write_bytes(content)
    for left in leftovers(tmp_path):
        assert left.slots == []
        left.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_file_hides_no_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path, lambda: None)
    journal.begin(ROW, ANN)
    journal.close()
    (tmp_path / "0-folder.turns").mkdir()
    (tmp_path / "0-link.turns").symlink_to("/dev/zero")
    assert [slot.row for left in leftovers(tmp_path) for slot in left.slots] == [ROW]


@given(place=st.integers(0, 2 * SLOT), junk=st.binary(min_size=1, max_size=64), size=st.integers(0, 3 * SLOT))
def test_damage_costs_no_more_than_the_turns_it_hits(
    tmp_path_factory: pytest.TempPathFactory, place: int, junk: bytes, size: int
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    journal = Journal(folder, lambda: None)
    slots = [journal.begin(replace(ROW, at=float(at)), ANN) for at in range(2)]
    journal.note(slots[0], replace(ROW, at=0.0))
    data = bytearray(file_of(folder).read_bytes())
    journal.close()
    file_of(folder).write_bytes((bytes(data[:place]) + junk + bytes(data[place + len(junk) :]))[:size])
    for left in leftovers(folder):
        for slot in left.slots:
            assert replace(slot.row, **dict.fromkeys(COSTS, 0)) == replace(ROW, at=slot.row.at, total_ms=0)
            assert min(getattr(slot.row, name) for name in COSTS) >= 0


COSTS = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "total_ms")


@given(model=st.text(max_size=2000), adapted=st.text(max_size=2000))
def test_any_names_can_be_noted(tmp_path_factory: pytest.TempPathFactory, model: str, adapted: str) -> None:
    folder = tmp_path_factory.mktemp("names")
    journal = Journal(folder, lambda: None)
    journal.begin(replace(ROW, model=model, adapted=adapted), ANN)
    journal.close()
    ((slot,),) = [left.slots for left in leftovers(folder)]
    assert slot.account == ANN
    assert model.encode(errors="replace").decode().startswith(slot.row.model)
    with closing(Ledger(folder / "ledger.sqlite3")) as ledger:
        ledger.add_missing([slot.row])
        ledger.add_missing([slot.row, replace(slot.row, at=9.0)])
        assert len(ledger.newest(9)) == 2


def test_a_folder_that_cannot_be_made_costs_the_notes_only(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("in the way")
    journal = Journal(tmp_path / "journal", lambda: None)
    slot = journal.begin(ROW, ANN)
    journal.note(slot, COSTLY, charged=True)
    assert journal.end(slot, COSTLY).row == COSTLY
    journal.free(slot)
    journal.close()
