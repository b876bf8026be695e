"""The store on a real disk: what is kept, what is refused, what a failing disk or program does to it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat import database, migrations
from chat.database import Snapshots, explain
from chat.ids import from_milliseconds, new_id, now, to_milliseconds
from chat.records import Chat
from chat.rows import new_message, storable
from chat.store import Store, StoreError
from chat.tree import Generation, Message
from presets.values import Persona, Window

HOSTILE = (
    "<|im_end|></s>[@click=app.quit]x[/][/]\x1b]52;c;eA==\x07{{ 7*7 }}{% raw %}"
    "\x00\u202e\U000e0041 '; DROP TABLE messages; --"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "chats.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store(path) as opened:
        yield opened


def a_chat(card_ref: str = "samuel") -> Chat:
    document = {"spec": "chara_card_v2", "data": {"name": "Samuel", "odd": "\ud83d"}}
    return Chat(new_id(), now(), card_ref, "Samuel", document, Persona("Alex", "A cartographer."), dice=7)


def begun(store: Store, *texts: str, card_ref: str = "samuel") -> tuple[Chat, list[Message]]:
    """A chat whose messages follow one on the other."""
    chat, messages, parent = a_chat(card_ref), [], None
    for index, text in enumerate(texts):
        message = new_message(chat.id, parent, "user" if index % 2 else "char", "Samuel", text)
        messages.append(message)
        parent = message.id
    store.create_chat(chat, messages, parent)
    return chat, messages


def texts(store: Store, chat: Chat) -> list[str]:
    return [message.text for message in store.open_chat(chat.id).tree.path()]


# Ids and times


def test_ids_are_uuid7_and_rise() -> None:
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.extend(new_id() for _ in range(2000))) for _ in range(4)]
    before = time.time_ns() // 1_000_000
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8000
    alone = [new_id() for _ in range(1000)]
    assert alone == sorted(alone)
    for text in (made[0], alone[-1]):
        parsed = uuid.UUID(text)
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
        assert abs((parsed.int >> 80) - before) < 60_000


@given(st.integers(-(10**13), 10**14))
def test_times_survive_the_way_through_milliseconds(milliseconds: int) -> None:
    assert to_milliseconds(from_milliseconds(milliseconds)) == milliseconds


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("plain ü 你好 🧛", "plain ü 你好 🧛"),
        ("lone \ud83d half", "lone \ufffd half"),
        ("halves \ud83e\udddb joined", "halves 🧛 joined"),
        (HOSTILE, HOSTILE),
    ],
)
def test_text_is_stored_as_it_is_but_for_what_utf8_cannot_hold(store: Store, text: str, stored: str) -> None:
    chat, _ = begun(store, text)
    assert storable(text) == stored
    assert texts(store, chat) == [stored]


# What is kept


def test_a_chat_comes_back_whole(path: Path) -> None:
    generation = Generation(
        "m.gguf", "limarp-v3", {"tfs_z": 0.85}, 7, 100, 20, 80, 30, {"read": 0.5}, ["tfs(0.85)"], "length"
    )
    with Store(path) as store:
        chat, [greeting] = begun(store, "Good evening.")
        user = new_message(chat.id, greeting.id, "user", "Alex", HOSTILE, hidden=True)
        store.add_message(user)
        reply = replace(new_message(chat.id, user.id, "char", "Samuel", "He bowed."), generation=generation)
        store.add_message(reply)
        longer = new_message(chat.id, user.id, "char", "Samuel", "He bowed. Low.", continues=reply.id)
        store.add_message(longer)
        chat = replace(chat, title="Castle", options={"length": "long"}, window=Window("message 1", True))
        store.save_settings(chat)
    with Store(path) as store:
        opened = store.open_chat(chat.id)
        assert opened.chat == chat
        assert opened.tree.messages() == [greeting, user, reply, longer]
        assert opened.tree.path() == [greeting, user, longer]
        assert opened.interrupted == 0


def test_removals_and_heads_come_back(path: Path) -> None:
    with Store(path) as store:
        chat, messages = begun(store, "a", "b", "c")
        tree = store.open_chat(chat.id).tree
        after = tree.head_after_removing(messages[1].id)
        removal = store.remove(messages[1], tree.head, after)
        assert texts(store, chat) == ["a"]
    with Store(path) as store:
        tree = store.open_chat(chat.id).tree
        assert tree.removals == (removal,)
        store.restore(chat.id, removal, removal.head_before)
        assert texts(store, chat) == ["a", "b", "c"]
        store.move_head(chat.id, messages[1].id)
        assert texts(store, chat) == ["a", "b"]


def test_rows_are_only_ever_added(path: Path) -> None:
    """What a second machine may have read already must not change."""
    tables = ("chats", "settings", "messages", "heads", "removals", "restores")

    def rows() -> dict[str, set[tuple[object, ...]]]:
        with closing(sqlite3.connect(path)) as connection:
            return {table: set(connection.execute(f"SELECT * FROM {table}")) for table in tables}

    with Store(path) as store:
        chat, messages = begun(store, "a", "b", "c")
        before = rows()
        store.save_settings(replace(chat, title="new"))
        removal = store.remove(messages[2], messages[2].id, messages[1].id)
        store.restore(chat.id, removal, messages[2].id)
        store.save_draft(new_message(chat.id, messages[2].id, "char", "Samuel", "d"))
        store.delete_chat(chat.id)
        store.restore_chat(chat.id)
        after = rows()
        assert all(before[table] <= after[table] for table in tables)
        assert sum(len(after[table]) - len(before[table]) for table in tables) == 7
        store.save_settings(replace(chat, title="new"))
        assert rows() == after, "a setting that is as it was adds nothing"


def test_a_setting_of_a_later_rpchat_is_no_error(store: Store, path: Path) -> None:
    chat, _ = begun(store, "a")
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("INSERT INTO settings VALUES (NULL, 'x', ?, 'mood', '\"grim\"', 0)", (chat.id,))
        generation = json.dumps({"model": "m", "format": "f", "seed": 1, "later": True})
        other.execute(
            "INSERT INTO messages"
            " SELECT NULL, 'y', chat_id, id, role, name, 'b', 0, 0, ?, '{}', NULL, '', '' FROM messages",
            (generation,),
        )
    tree = store.open_chat(chat.id).tree
    assert tree["y"].generation == Generation("m", "f", {}, 1)


def test_the_list_of_chats(store: Store) -> None:
    assert store.chats() == []
    first, _ = begun(store, "a", "b", "The last\n\n  line  here")
    second, _ = begun(store, card_ref="mila")
    third, _ = begun(store, "x" * 5000)
    store.save_settings(replace(third, title="Long"))
    listed = store.chats()
    assert [chat.id for chat in listed] == [third.id, second.id, first.id]
    assert [chat.messages for chat in listed] == [1, 0, 3]
    assert [chat.title for chat in listed] == ["Long", "", ""]
    assert listed[2].last_line == "The last line here"
    assert len(listed[0].last_line) == 200
    assert [chat.id for chat in store.chats("mila")] == [second.id]
    store.add_message(new_message(first.id, None, "char", "Samuel", "again"))
    assert store.chats()[0].id == first.id
    store.delete_chat(first.id)
    assert [chat.id for chat in store.chats()] == [third.id, second.id]
    store.restore_chat(first.id)
    assert len(store.chats()) == 3


def test_a_chat_is_found_by_the_beginning_of_its_id(store: Store) -> None:
    chat, _ = begun(store, "a")
    assert store.find_chat(chat.id) == chat.id
    assert store.find_chat(chat.id[:-2].upper()) == chat.id
    begun(store, "b")
    for wrong in ("ffff", "", "%", chat.id[:6]):
        with pytest.raises(StoreError) as caught:
            store.find_chat(wrong)
        assert caught.value.code == "missing"
        assert "\n" not in str(caught.value)
    with pytest.raises(StoreError, match="no chat"):
        store.open_chat("nobody")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("castle", 1),
        ("CASTLE night", 1),
        ("cast", 1),
        ("night cast", 1),
        ("cast night", 0),
        ("eglise", 1),
        ("城堡", 1),
        ("100%", 1),
        ("_", 0),
        ("AND", 0),
        ('"', 0),
        ("text:castle OR *", 0),
        ("", 0),
    ],
)
def test_search(store: Store, query: str, found: int) -> None:
    begun(store, "The castle stood in the night.", "Une église.", "他住在城堡里。", "100% sure", "10 pct")
    assert len(store.search(query)) == found


def test_search_tells_where_and_leaves_out_what_is_gone(store: Store) -> None:
    chat, messages = begun(store, "one", "bat " * 100 + "needle " + "bat " * 100, "needle below")
    assert {hit.message_id for hit in store.search("needle")} == {messages[1].id, messages[2].id}
    hit = next(hit for hit in store.search("needle") if hit.message_id == messages[1].id)
    assert (hit.chat_id, hit.card_name, hit.name) == (chat.id, "Samuel", "Samuel")
    assert "needle" in hit.excerpt
    assert len(hit.excerpt) < 200
    longer = new_message(
        chat.id, messages[1].id, "char", "S", "needle below and more", continues=messages[2].id
    )
    store.add_message(longer)
    assert {hit.message_id for hit in store.search("needle")} == {messages[1].id, longer.id}
    removal = store.remove(messages[1], longer.id, messages[0].id)
    assert store.search("needle") == []
    store.restore(chat.id, removal, longer.id)
    assert len(store.search("needle")) == 2
    store.delete_chat(chat.id)
    assert store.search("needle") == []


def test_ten_thousand_messages_open_at_once(path: Path) -> None:
    generation = Generation("m.gguf", "limarp-v3", {f"k{n}": 1.0 for n in range(24)}, 7)
    with Store(path) as store:
        chat, messages = begun(store, *(f"word {n} " * 40 for n in range(10_000)))
        reply = replace(new_message(chat.id, messages[-1].id, "char", "S", "end"), generation=generation)
        store.add_message(reply)
        times = []
        for _ in range(3):
            started = time.perf_counter()
            assert len(store.open_chat(chat.id).tree.path()) == 10_001
            times.append(time.perf_counter() - started)
        assert min(times) < 1.0, "a tenth of that on a machine that does nothing else"
        started = time.perf_counter()
        assert store.chats()[0].messages == 10_001
        assert len(store.search("word")) == 50
        assert time.perf_counter() - started < 1.0


# The file


def test_files_are_private(path: Path) -> None:
    with Store(path) as store:
        begun(store, "a")
        store.claim("x")
        files = [path, path.with_name("chats.db-wal"), path.with_name("chats.db-shm")]
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    with Store(path):
        pass
    for found in path.parent.rglob("*"):
        assert found.stat().st_mode & 0o777 == (0o700 if found.is_dir() else 0o600), found
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_others_may_read_is_closed_to_them(path: Path) -> None:
    Store(path).close()
    path.chmod(0o644)
    Store(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_every_commit_is_flushed(path: Path) -> None:
    with Store(path) as store:
        pragmas = {
            name: store._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "user_version")
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 5000,
        "user_version": migrations.latest(),
    }


def test_a_newer_file_is_refused_and_left_alone(path: Path) -> None:
    with Store(path) as store:
        begun(store, "a")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 999")
        connection.execute("PRAGMA journal_mode = DELETE")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"newer rpchat \(version 999") as caught:
        Store(path)
    assert caught.value.code == "newer"
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert [found.name for found in path.parent.glob("*damaged*")] == []


def test_an_older_file_is_brought_up_to_date_after_a_copy(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(path) as store:
        chat, _ = begun(store, "a")
    second = ("CREATE TABLE moods (mood TEXT)", "INSERT INTO moods SELECT text FROM messages")
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, second))
    version = migrations.latest()
    with Store(path) as store:
        assert texts(store, chat) == ["a"]
        assert store._connection.execute("SELECT mood FROM moods").fetchall() == [("a",)]
        assert store._connection.execute("PRAGMA user_version").fetchone() == (version,)
    with closing(sqlite3.connect(path.parent / "snapshots" / f"chats-before-version-{version}.db")) as copy:
        assert copy.execute("PRAGMA user_version").fetchone() == (version - 1,)
        assert copy.execute("SELECT text FROM messages").fetchall() == [("a",)]


def test_a_file_of_the_first_version_gets_thinking_and_raw(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as old, old:
        for statement in migrations.FIRST:
            old.execute(statement)
        old.execute("PRAGMA user_version = 1")
        old.execute("INSERT INTO chats VALUES (1, 'c', 0, '', 'S', '{}', 'Alex', '', 0)")
        old.execute(
            "INSERT INTO messages VALUES (1, 'm', 'c', NULL, 'char', 'S', 'Hello', 0, 0, NULL, NULL, NULL)"
        )
        old.execute("INSERT INTO heads VALUES (1, 'h', 'c', 'm', 0)")
    with Store(path) as store:
        (message,) = store.open_chat("c").tree.path()
        assert (message.text, message.thinking, message.raw) == ("Hello", "", "")
        longer = replace(
            message, id="n", parent_id="m", text="Hi.", thinking="Hm.", raw="<think>Hm.</think>Hi."
        )
        store.add_message(longer)
    with Store(path) as store:
        assert store.open_chat("c").tree.path()[-1] == longer


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(path) as store:
        chat, _ = begun(store, "a")
    broken = ("CREATE TABLE moods (mood TEXT)", "INSERT INTO nowhere VALUES (1)")
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, broken))
        with pytest.raises(StoreError, match="nowhere"):
            Store(path)
    with Store(path) as store:
        assert texts(store, chat) == ["a"]
        assert not store._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'moods'").fetchall()


# Damage


def spoil_header(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 1000)


def spoil_middle(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(20_000))


def spoil_end(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)


@pytest.mark.parametrize("spoil", [spoil_header, spoil_middle, spoil_end])
@pytest.mark.parametrize("snapshot", [True, False])
def test_a_damaged_file_is_set_aside_and_a_snapshot_takes_its_place(
    path: Path, spoil: object, snapshot: bool
) -> None:
    assert callable(spoil)
    with Store(path) as store:
        chat, _ = begun(store, *(f"message {n} " * 30 for n in range(100)))
    if snapshot:
        Store(path).close()
    spoil(path)
    spoiled = path.read_bytes()
    with Store(path) as store:
        [notice] = store.notices
        [aside] = path.parent.glob("chats.damaged-*.db")
        assert aside.name == f"chats.damaged-{date.today().isoformat()}.db"
        assert aside.read_bytes() == spoiled
        assert str(aside) in notice
        assert "\n" not in notice
        assert ("snapshot of" in notice) == snapshot
        assert len(store.chats()) == snapshot
        if snapshot:
            assert len(texts(store, chat)) == 100
        begun(store, "goes on")
    spoil(path)
    with Store(path):
        assert len(list(path.parent.glob("chats.damaged-*.db"))) == 2, "the first is not written over"


def test_a_damaged_log_goes_with_its_file(path: Path) -> None:
    Store(path).close()
    spoil_header(path)
    path.with_name("chats.db-wal").write_bytes(b"log")
    with Store(path) as store:
        assert store.chats() == []
    [aside] = path.parent.glob("chats.damaged-*.db")
    assert aside.with_name(aside.name + "-wal").read_bytes() == b"log"


def test_a_damaged_snapshot_is_passed_over_for_the_one_before(path: Path) -> None:
    with Store(path) as store:
        begun(store, "a")
    Store(path).close()
    folder = path.parent / "snapshots"
    [today] = folder.iterdir()
    today.rename(folder / "chats-2020-01-01.db")
    (folder / "chats-2020-01-02.db").write_bytes(b"nothing" * 1000)
    spoil_header(path)
    with Store(path) as store:
        assert "snapshot of 2020-01-01" in store.notices[0]
        assert len(store.chats()) == 1


def test_damage_that_shows_later_is_one_line_and_found_at_the_next_start(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CHECKED_BYTES", 0)
    with Store(path) as store:
        chat, _ = begun(store, *(f"message {n} " * 30 for n in range(300)))
    spoil_middle(path)
    with Store(path) as store:
        assert store.notices == []
        with pytest.raises(StoreError, match="is damaged") as caught:
            store.open_chat(chat.id)
    assert caught.value.code == "damaged"
    with Store(path) as store:
        assert "was damaged" in store.notices[0]


# Snapshots


def test_one_snapshot_a_day_and_seven_are_kept(path: Path) -> None:
    with Store(path) as store:
        begun(store, "a")
        assert not (path.parent / "snapshots").exists(), "nothing was worth keeping at the start"
    folder = path.parent / "snapshots"
    folder.mkdir()
    for day in range(1, 10):
        (folder / f"chats-2020-01-{day:02}.db").write_bytes(b"old")
    (folder / "left.part").write_bytes(b"half")
    os.utime(folder / "left.part", (0, 0))
    with Store(path) as store:
        begun(store, "b")
    names = sorted(file.name for file in folder.iterdir())
    assert names == [f"chats-2020-01-{day:02}.db" for day in range(4, 10)] + [
        f"chats-{date.today().isoformat()}.db"
    ]
    first = Snapshots(path).daily()[0].read_bytes()
    Store(path).close()
    assert Snapshots(path).daily()[0].read_bytes() == first, "one a day"
    assert not list(folder.glob("*-wal"))


def test_a_snapshot_that_fails_is_said_and_harms_nothing(path: Path) -> None:
    with Store(path) as store:
        chat, _ = begun(store, "a")
    (path.parent / "snapshots").write_bytes(b"in the way")
    with Store(path) as store:
        assert texts(store, chat) == ["a"]
    assert "No snapshot" in store.notices[0]


# Failing disks, other programs


def test_a_full_disk_refuses_a_change_whole(store: Store) -> None:
    chat, [greeting] = begun(store, "a")
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="disk is full") as caught:
        store.add_message(new_message(chat.id, greeting.id, "user", "Alex", "long " * 10_000))
    assert caught.value.code == "full"
    assert texts(store, chat) == ["a"]
    store._connection.execute("PRAGMA max_page_count = 100000")
    store.add_message(new_message(chat.id, greeting.id, "user", "Alex", "b"))
    assert texts(store, chat) == ["a", "b"]


FILL = """
import resource, sys
from pathlib import Path
from chat.rows import new_message
from chat.store import Store, StoreError
store, chat, parent = Store(Path(sys.argv[1])), sys.argv[2], sys.argv[3]
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    while True:
        message = new_message(chat, parent, "user", "Alex", "word " * 2000)
        store.add_message(message)
        parent = message.id
        print(message.id, flush=True)
except StoreError as error:
    print(error.code, error, file=sys.stderr)
"""


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(root)},
    )


def test_a_file_that_may_not_grow_keeps_all_that_was_stored(path: Path) -> None:
    with Store(path) as store:
        chat, [greeting] = begun(store, "a")
    ended = run(FILL, path, chat.id, greeting.id)
    assert ended.stderr.startswith("full The chat store"), ended.stderr
    assert ended.stderr.count("\n") == 1
    stored = ended.stdout.split()
    assert len(stored) > 5
    with Store(path) as store:
        assert store.notices == []
        assert [message.id for message in store.open_chat(chat.id).tree.path()[1:]] == stored


def test_a_lock_that_another_program_holds_is_one_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    with Store(path) as store, closing(sqlite3.connect(path)) as other:
        chat, [greeting] = begun(store, "a")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="in use by another program") as caught:
            store.add_message(new_message(chat.id, greeting.id, "user", "Alex", "b"))
        assert caught.value.code == "locked"
        assert texts(store, chat) == ["a"], "reading goes on"
        other.execute("ROLLBACK")
        store.add_message(new_message(chat.id, greeting.id, "user", "Alex", "b"))
        assert texts(store, chat) == ["a", "b"]


def test_two_programs_on_one_store(path: Path) -> None:
    with Store(path) as one, Store(path) as two:
        chat, [greeting] = begun(one, "a")

        def write(store: Store, name: str) -> None:
            parent = greeting.id
            for number in range(25):
                message = new_message(chat.id, parent, "user", name, f"{name} {number}")
                store.add_message(message)
                parent = message.id

        threads = [threading.Thread(target=write, args=pair) for pair in ((one, "one"), (two, "two"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tree = one.open_chat(chat.id).tree
        assert len(tree) == 51
        assert len(tree.children(greeting.id)) == 2
        assert tree.path() == two.open_chat(chat.id).tree.path()


def test_a_store_is_shared_by_threads(store: Store) -> None:
    chat, [greeting] = begun(store, "a")
    problems: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(10):
                store.add_message(new_message(chat.id, greeting.id, "user", "Alex", "b"))
                store.chats()
        except BaseException as error:
            problems.append(error)
            raise

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(store.open_chat(chat.id).tree) == 41


@pytest.mark.parametrize("where", ["file.txt/chats.db", "."])
def test_a_place_where_no_store_can_be(tmp_path: Path, where: str) -> None:
    (tmp_path / "file.txt").write_text("here")
    with pytest.raises(StoreError) as caught:
        Store(tmp_path / where)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (sqlite3.SQLITE_BUSY, "locked"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "locked"),
        (sqlite3.SQLITE_FULL, "full"),
        (sqlite3.SQLITE_IOERR_WRITE, "full"),
        (sqlite3.SQLITE_READONLY, "readonly"),
        (sqlite3.SQLITE_READONLY_DIRECTORY, "readonly"),
        (sqlite3.SQLITE_CANTOPEN, "readonly"),
        (sqlite3.SQLITE_CORRUPT, "damaged"),
        (sqlite3.SQLITE_CORRUPT_VTAB, "damaged"),
        (sqlite3.SQLITE_NOTADB, "damaged"),
        (sqlite3.SQLITE_ERROR, "io"),
    ],
)
def test_what_a_database_error_means(number: int, code: str) -> None:
    error = sqlite3.OperationalError("text")
    error.sqlite_errorcode = number
    explained = explain(error, Path("chats.db"))
    assert explained.code == code
    assert "chats.db" in str(explained)
    assert str(explained).endswith(".")


# Drafts, claims


def test_a_draft_of_a_living_program_is_left_alone(path: Path) -> None:
    with Store(path) as one, Store(path) as two:
        chat, [greeting] = begun(one, "a")
        draft = new_message(chat.id, greeting.id, "char", "Samuel", "He be")
        one.save_draft(draft)
        one.save_draft(replace(draft, text="He began"))
        assert two.open_chat(chat.id).interrupted == 0
        assert one.open_chat(chat.id).interrupted == 0
        assert texts(two, chat) == ["a"]
        one.add_message(replace(draft, text="He began to speak."))
        assert texts(two, chat) == ["a", "He began to speak."]
    with Store(path) as store:
        assert store.open_chat(chat.id).interrupted == 0
        assert store._connection.execute("SELECT count(*) FROM drafts").fetchone() == (0,)


def test_a_draft_that_was_left_behind_becomes_a_message(path: Path) -> None:
    generation = Generation("m", "f", {}, 1, finish_reason="interrupted")
    with Store(path) as store:
        chat, [greeting] = begun(store, "a")
        draft = replace(new_message(chat.id, greeting.id, "char", "Samuel", "He be"), generation=generation)
        store.save_draft(draft)
        store.save_draft(replace(draft, text="He began"))
        dropped = new_message(chat.id, greeting.id, "char", "Samuel", "no")
        store.save_draft(dropped)
        store.drop_draft(dropped.id)
    with Store(path) as store:
        opened = store.open_chat(chat.id)
        assert opened.interrupted == 1
        assert opened.tree.path()[-1] == replace(draft, text="He began")
        assert store.open_chat(chat.id).interrupted == 0
        assert [hit.message_id for hit in store.search("began")] == [draft.id]


def test_a_draft_does_not_take_the_head_from_a_later_move(path: Path) -> None:
    with Store(path) as store:
        chat, [greeting] = begun(store, "a")
        store.save_draft(new_message(chat.id, greeting.id, "char", "Samuel", "He be"))
        time.sleep(0.005)
        store.add_message(new_message(chat.id, greeting.id, "user", "Alex", "elsewhere"))
    with Store(path) as store:
        assert texts(store, chat) == ["a", "elsewhere"]
        assert len(store.open_chat(chat.id).tree) == 3


def test_lock_files_of_killed_programs_are_swept_away(path: Path) -> None:
    with Store(path) as living, Store(path) as store:
        chat, [greeting] = begun(store, "a")
        living.save_draft(new_message(chat.id, greeting.id, "char", "Samuel", "b"))
        (path.parent / "locks" / "writer-dead.lock").touch()
        for file in (path.parent / "locks").iterdir():
            os.utime(file, (0, 0))
        store.save_draft(new_message(chat.id, greeting.id, "char", "Samuel", "c"))
        assert len(list((path.parent / "locks").iterdir())) == 2, "the two that live"
        assert store.open_chat(chat.id).interrupted == 0


OPEN = """
import sys
from pathlib import Path
from chat.store import Store
with Store(Path(sys.argv[1])) as store:
    print(len(store.chats()), store.notices)
"""


@pytest.mark.parametrize("damaged", [False, True])
def test_programs_that_start_at_once_open_one_store(path: Path, damaged: bool) -> None:
    """None of them sets aside what another one has just begun."""
    if damaged:
        path.parent.mkdir()
        spoil_header(path)
    threads: list[threading.Thread] = []
    ended: list[subprocess.CompletedProcess[str]] = []
    for _ in range(4):
        threads.append(threading.Thread(target=lambda: ended.append(run(OPEN, path))))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert [one.stderr for one in ended] == [""] * 4
    assert sum("damaged" in one.stdout for one in ended) == damaged
    assert len(list(path.parent.glob("chats.damaged-*"))) == damaged


def test_a_chat_is_claimed_by_one_program_at_a_time(path: Path) -> None:
    with Store(path) as one, Store(path) as two:
        assert one.claim("chat")
        assert one.claim("chat"), "again by the same program"
        assert not two.claim("chat")
        assert two.claim("other")
        one.release("chat")
        assert two.claim("chat")
    with Store(path) as three:
        assert three.claim("chat")


def test_a_store_in_memory_leaves_nothing_behind(tmp_path: Path) -> None:
    with Store.in_memory() as store:
        chat, messages = begun(store, "a", "b")
        store.save_draft(new_message(chat.id, messages[-1].id, "char", "Samuel", "c"))
        assert store.claim(chat.id)
        assert texts(store, chat) == ["a", "b"]
        store.release(chat.id)
    assert list(tmp_path.iterdir()) == []
