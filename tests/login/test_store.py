import errno
import json
import os
import socket
import stat
import time
from pathlib import Path

import pytest

from codexproxy.login.tokens.file_store import FileTokenStore, MemoryTokenStore, StorageFailed, TokenStore
from codexproxy.login.tokens.tokens import BrokenLogin
from tests.contracts.token_stores import TokenStoreContract, a_login
from tests.fakes.disk import RefusingDisk


class TestFileTokenStore(TokenStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> TokenStore:
        return FileTokenStore(tmp_path / "data" / "tokens.json")


class TestMemoryTokenStore(TokenStoreContract):
    @pytest.fixture
    def store(self) -> TokenStore:
        return MemoryTokenStore()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_file_is_private_and_so_are_the_folder_and_the_lock(tmp_path: Path) -> None:
    store = FileTokenStore(tmp_path / "data" / "tokens.json")
    before = os.umask(0)
    try:
        with store.lock(1):
            store.save(a_login())
    finally:
        os.umask(before)
    assert mode_of(store.path) == 0o600
    assert mode_of(store.path.parent) == 0o700
    assert {mode_of(path) for path in store.path.parent.iterdir()} == {0o600}


def test_a_file_made_readable_by_others_is_private_again_after_a_save(tmp_path: Path) -> None:
    store = FileTokenStore(tmp_path / "tokens.json")
    store.save(a_login())
    store.path.chmod(0o644)
    store.save(a_login(2))
    assert mode_of(store.path) == 0o600


def test_it_is_the_contracts_json(tmp_path: Path) -> None:
    store = FileTokenStore(tmp_path / "tokens.json")
    store.save(a_login())
    names = {"access_token", "refresh_token", "id_token", "expires_at", "account_id", "updated_at"}
    assert set(json.loads(store.path.read_text())) == names


def test_unknown_fields_are_kept(tmp_path: Path) -> None:
    store = FileTokenStore(tmp_path / "tokens.json")
    store.path.write_text(json.dumps({"access_token": "a", "label": "home"}))
    tokens = store.load()
    assert tokens is not None
    store.save(tokens)
    assert json.loads(store.path.read_text())["label"] == "home"


def test_a_byte_order_mark_is_no_obstacle(tmp_path: Path) -> None:
    store = FileTokenStore(tmp_path / "tokens.json")
    store.path.write_bytes(b'\xef\xbb\xbf{"access_token": "a"}')
    assert store.load()


@pytest.mark.parametrize("content", [b"", b" \n"])
def test_an_empty_file_is_no_login(tmp_path: Path, content: bytes) -> None:
    store = FileTokenStore(tmp_path / "tokens.json")
    store.path.write_bytes(content)
    assert store.load() is None


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b'{"access_token": secret}', b"[" * 100_000])
def test_a_broken_file_is_named_with_the_command_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    store = FileTokenStore(tmp_path / "tokens.json")
    store.path.write_bytes(content)
    with pytest.raises(BrokenLogin, match=r"tokens\.json.*codexproxy login") as caught:
        store.load()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "free some space"), (errno.EROFS, "DATA_DIR"), (errno.EIO, "could not be written")],
)
@pytest.mark.parametrize("step", ["write", "flush", "rename"])
def test_a_disk_that_refuses_is_a_clear_error_and_loses_nothing(
    tmp_path: Path, step: str, number: int, advice: str
) -> None:
    disk = RefusingDisk(step, number)
    store = FileTokenStore(tmp_path / "tokens.json", disk=disk)
    disk.refuses = False
    store.save(a_login())
    disk.refuses = True
    with pytest.raises(StorageFailed, match=advice) as caught:
        store.save(a_login(2))
    assert os.strerror(number) in str(caught.value)
    assert store.load() == a_login()
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.json"]


def test_a_real_full_disk_is_a_clear_error() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")

    class FullDisk(RefusingDisk):
        def write(self, descriptor: int, data: bytes) -> None:
            with open("/dev/full", "wb", buffering=0) as full:
                full.write(data)

    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        store = FileTokenStore(Path(folder) / "tokens.json", disk=FullDisk("", 0))
        with pytest.raises(StorageFailed, match="The disk is full"):
            store.save(a_login())


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EXDEV])
def test_a_file_mounted_by_itself_is_overwritten_where_it_is(tmp_path: Path, number: int) -> None:
    store = FileTokenStore(tmp_path / "tokens.json", disk=RefusingDisk("rename", number))
    store.path.write_text(json.dumps({"access_token": "a" * 5000}))
    inode = store.path.stat().st_ino
    store.save(a_login())
    assert store.load() == a_login()
    assert store.path.stat().st_ino == inode
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.json"]


def test_a_mounted_file_is_readable_even_when_its_overwriting_is_cut_before_the_end(tmp_path: Path) -> None:
    class CutDisk(RefusingDisk):
        writes = 0

        def write(self, descriptor: int, data: bytes) -> None:
            super().write(descriptor, data)
            self.writes += 1
            if self.writes == 2:
                raise KeyboardInterrupt

    store = FileTokenStore(tmp_path / "tokens.json", disk=CutDisk("rename", errno.EBUSY))
    store.path.write_text(json.dumps({"access_token": "a" * 5000}))
    with pytest.raises(KeyboardInterrupt):
        store.save(a_login())
    assert store.load() == a_login()


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    real = tmp_path / "real.json"
    real.write_text("{}")
    link = tmp_path / "tokens.json"
    link.symlink_to(real)
    store = FileTokenStore(link)
    store.save(a_login())
    assert link.is_symlink()
    assert store.load() == FileTokenStore(real).load() == a_login()


def test_what_killed_writers_left_is_swept_when_it_is_old(tmp_path: Path) -> None:
    old, young = tmp_path / ".tokens.json.old.tmp", tmp_path / ".tokens.json.young.tmp"
    for path in (old, young):
        path.write_text("half")
    os.utime(old, (time.time() - 7200,) * 2)
    FileTokenStore(tmp_path / "tokens.json").save(a_login())
    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize("kind", ["a folder", "a pipe", "a socket", "a device"])
def test_what_is_no_file_is_refused_at_once_and_called_by_its_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "tokens.json"
    with socket.socket(socket.AF_UNIX) as listener:
        if kind == "a folder":
            path.mkdir()
        elif kind == "a pipe":
            os.mkfifo(path)
        elif kind == "a socket":
            listener.bind(str(path))
        else:
            path.symlink_to("/dev/null")
        with pytest.raises(StorageFailed, match=f"could not be read: it is {kind}, not a file"):
            FileTokenStore(path).load()


def test_a_login_takes_the_place_of_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tokens.json")
    store = FileTokenStore(tmp_path / "tokens.json")
    store.save(a_login())
    assert store.load() == a_login()
