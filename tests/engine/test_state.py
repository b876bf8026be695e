"""What was read of a chat goes on in another process, and only there where it is true."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.engine.client import Engine
from chat.engine.protocol import Adapter, Done, Span, StateSaved
from chat.engine.shelf import FORGOTTEN_SECONDS, SUPPOSED_SPEED, Shelf
from chat.engine.worker.cache import CachedSequence
from chat.engine.worker.checkpoints import Checkpoint
from chat.engine.worker.statefile import (
    StateFileError,
    finish,
    read_checkpoints,
    read_record,
    record_of,
)
from presets.sampling import Sampling

GREEDY = Sampling(temperature=0)
STORY = "The rain came down over the old town, and nobody was out in the year {}. "
TOLD = "".join(STORY.format(year) for year in range(1700, 1718))
NEW = "\nSam: And then, who lit the lamp?\nKeeper:"
BEST = 6
NEAR = 0.01
"""Of probability: what is read in other batches differs in its last bits."""

Start = Callable[..., Engine]


@pytest.fixture
def states(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "states"


@pytest.fixture
def start(tmp_path: Path, tiny_model: Path) -> Iterator[Start]:
    """Starts a worker with the tiny model, or with another."""
    engines = []

    def start(model: Path = tiny_model, **wishes: Any) -> Engine:
        engine = Engine(tmp_path / "worker.log")
        engines.append(engine)
        engine.load(model, **wishes).wait()
        return engine

    yield start
    for engine in engines:
        engine.close()


def reply(engine: Engine, text: str, length: int = 12) -> Done:
    spans = [Span(text=text, trusted=True)]
    return engine.generate(spans, GREEDY, seed=1, max_tokens=length, ban_eos=True, probs=BEST).wait()


def tokens(engine: Engine, text: str) -> int:
    return engine.count([Span(text=text, trusted=True)])[0]


def likely(done: Done, chosen: Done) -> list[float]:
    """What the model thought of the best candidates that another run had, before any sampler."""
    known = {one.id: one.p for one in done.probs[0].steps[0].best}
    return [known.get(one.id, 0.0) for one in chosen.probs[0].steps[0].best[: BEST // 2]]


def left(engine: Engine, states: Path, text: str = TOLD, chat: str = "chat") -> Path:
    """A chat that was written and left: its file."""
    reply(engine, text)
    saved = engine.save_state(states, chat).wait()
    assert (saved.skipped, saved.problem) == ("", "")
    engine.close()
    (file,) = states.glob(f"{chat}.*.state")
    assert file.stat().st_size == saved.bytes
    return file


def test_a_chat_goes_on_in_another_process(start: Start, states: Path) -> None:
    before = start()
    left(before, states)
    after, fresh = start(), start()
    restored = after.restore_state(states, "chat").wait()
    assert restored.tokens >= tokens(after, TOLD)
    done, cold = reply(after, TOLD + NEW), reply(fresh, TOLD + NEW)
    assert done.reused_tokens > 0.9 * tokens(after, TOLD)
    assert done.evaluated_tokens <= tokens(after, NEW) + 12
    assert likely(done, cold) == pytest.approx(likely(cold, cold), abs=NEAR)


def test_the_same_prompt_again_reads_one_token(start: Start, states: Path) -> None:
    """Also when nothing is new the logits are there: they are no part of a state."""
    left(start(), states)
    after, fresh = start(), start()
    assert after.restore_state(states, "chat").wait().tokens
    done, cold = reply(after, TOLD), reply(fresh, TOLD)
    assert done.evaluated_tokens == 1
    assert likely(done, cold) == pytest.approx(likely(cold, cold), abs=NEAR)


def test_only_the_owner_can_read_it(start: Start, states: Path) -> None:
    file = left(start(), states)
    assert file.stat().st_mode & 0o777 == 0o600
    assert [folder.stat().st_mode & 0o777 for folder in (states, states.parent)] == [0o700, 0o700]
    assert all(one.stat().st_mode & 0o077 == 0 for one in states.iterdir())


def test_what_an_edit_changed_is_read_and_the_rest_is_not(start: Start, states: Path) -> None:
    left(start(), states)
    after = start()
    after.restore_state(states, "chat").wait()
    edited = TOLD.replace("year 1712", "time of the great plague")
    done = reply(after, edited)
    assert done.broken_at == done.reused_tokens
    assert tokens(after, TOLD) / 2 < done.reused_tokens < tokens(after, TOLD[: TOLD.index("1712")]) + 2


def test_a_chat_that_was_never_left_has_none(start: Start, states: Path) -> None:
    engine = start()
    assert engine.restore_state(states, "chat").wait().tokens == 0
    left(engine, states)
    again = start()
    assert again.restore_state(states, "another").wait().tokens == 0
    assert reply(again, TOLD).reused_tokens == 0


def test_a_chat_that_is_still_in_the_cache_is_not_read_from_disk(start: Start, states: Path) -> None:
    engine = start()
    reply(engine, TOLD)
    saved = engine.save_state(states, "chat").wait()
    (file,) = states.glob("chat.*.state")
    used = file.stat().st_atime_ns, file.stat().st_mtime_ns
    assert engine.restore_state(states, "chat").wait().tokens == saved.tokens
    assert file.stat().st_mtime_ns == used[1]
    assert reply(engine, TOLD).evaluated_tokens == 1


def test_another_scale_or_cache_type_is_another_key(
    engine: Engine, states: Path, demo_model: Path, tmp_path: Path, tiny_model: Path
) -> None:
    short = STORY.format(1700)
    for wishes in ({"cache_type": "f16"}, {"cache_type": "q8_0"}):
        engine.load(demo_model, context=512, **wishes).wait()
        assert engine.restore_state(states, "chat").wait().tokens == 0
        reply(engine, short, 1)
        assert engine.save_state(states, "chat").wait().skipped == ""
    adapters = adapter(lambda: tiny_model, tmp_path, tiny_model)["adapters"]
    engine.load(tiny_model, adapters=adapters).wait()
    for scale in (1.0, 0.5):
        engine.adapt([one.model_copy(update={"scale": scale}) for one in adapters])
        assert engine.restore_state(states, "chat").wait().tokens == 0
        reply(engine, short)
        assert engine.save_state(states, "chat").wait().skipped == ""
    engine.adapt(adapters)
    assert engine.restore_state(states, "chat").wait().tokens > 0
    assert len(list(states.glob("chat.*.state"))) == 4


def test_another_context_size_is_the_same_model(start: Start, states: Path) -> None:
    file = left(start(), states)
    larger, smaller = start(context=1024), start(context=256)
    assert larger.restore_state(states, "chat").wait().tokens > 256
    assert reply(larger, TOLD).evaluated_tokens == 1
    assert smaller.restore_state(states, "chat").wait().tokens == 0
    assert file.exists()  # it is not to blame


# What it must not be used for -------------------------------------------------------------------------------


def another_model(build: Callable[..., Path], tmp_path: Path, _model: Path) -> dict[str, Any]:
    return {"model": build(tmp_path / "tiny.gguf", seed=1)}


def touched(_build: Callable[..., Path], tmp_path: Path, model: Path) -> dict[str, Any]:
    new = tmp_path / model.name
    shutil.copyfile(model, new)
    return {"model": new}


def adapter(_build: Callable[..., Path], tmp_path: Path, _model: Path) -> dict[str, Any]:
    from gguf import GGUFWriter

    random = np.random.default_rng(3)
    writer = GGUFWriter(tmp_path / "lora.gguf", "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    for half, shape in (("lora_a", (4, 64)), ("lora_b", (64, 4))):
        values = random.standard_normal(shape).astype(np.float32)
        writer.add_tensor(f"blk.0.attn_q.weight.{half}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return {"adapters": [Adapter(path=str(tmp_path / "lora.gguf"))]}


@pytest.mark.parametrize("other", [another_model, touched, adapter])
def test_it_is_not_trusted_across(
    other: Callable[..., dict[str, Any]],
    start: Start,
    states: Path,
    build_llama: Callable[..., Path],
    tmp_path: Path,
    tiny_model: Path,
) -> None:
    file = left(start(), states)
    wishes = other(build_llama, tmp_path, tiny_model)
    engine = start(**wishes)
    assert engine.restore_state(states, "chat").wait().tokens == 0
    assert file.exists()  # it is still good for what it was made with
    cold = reply(engine, TOLD)
    assert cold.reused_tokens == 0
    engine.save_state(states, "chat").wait()
    (own,) = set(states.glob("chat.*.state")) - {file}
    shutil.copyfile(file, own)  # as if both had the same name
    engine.close()
    engine = start(**wishes)
    assert engine.restore_state(states, "chat").wait().tokens == 0
    assert not own.exists()
    assert "is deleted: it is for another" in engine.log_file.read_text()
    assert likely(reply(engine, TOLD), cold) == pytest.approx(likely(cold, cold), abs=NEAR)


@pytest.mark.parametrize("flash", ["on", "off"])
def test_another_attention_is_refused_or_works(start: Start, states: Path, flash: Any) -> None:
    """llama.cpp lays the values out otherwise without flash attention, and knows that by itself."""
    left(start(flash_attention="off" if flash == "on" else "on"), states)
    engine, fresh = start(flash_attention=flash), start(flash_attention=flash)
    engine.restore_state(states, "chat").wait()
    done, cold = reply(engine, TOLD + NEW), reply(fresh, TOLD + NEW)
    assert likely(done, cold) == pytest.approx(likely(cold, cold), abs=NEAR)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def cut_a_little(data: bytes) -> bytes:
    return data[:-1]


def flipped_in_the_state(data: bytes) -> bytes:
    place = len(data) // 3
    return data[:place] + bytes([data[place] ^ 0x40]) + data[place + 1 :]


def flipped_in_the_header(data: bytes) -> bytes:
    return data[:5] + b"\xff" + data[6:]


def flipped_in_the_record(data: bytes) -> bytes:
    place = len(data) - 200
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def zeros(data: bytes) -> bytes:
    return bytes(len(data))


def nothing(_data: bytes) -> bytes:
    return b""


def a_letter(_data: bytes) -> bytes:
    return b"Dear diary, " * 100


def grown(data: bytes) -> bytes:
    return data + data[-100:]


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        cut_a_little,
        flipped_in_the_state,
        flipped_in_the_header,
        flipped_in_the_record,
        zeros,
        nothing,
        a_letter,
        grown,
    ],
)
def test_a_damaged_file_is_deleted_with_a_line(
    damage: Callable[[bytes], bytes], start: Start, states: Path
) -> None:
    file = left(start(), states)
    file.write_bytes(damage(file.read_bytes()))
    engine = start()
    assert engine.restore_state(states, "chat").wait().tokens == 0
    assert not file.exists()
    assert f"{file} is deleted: " in engine.log_file.read_text()
    assert reply(engine, TOLD).reused_tokens == 0
    assert engine.save_state(states, "chat").wait().skipped == ""


def test_a_file_that_cannot_be_read_is_left_alone(start: Start, states: Path) -> None:
    file = left(start(), states)
    file.unlink()
    file.mkdir()
    engine = start()
    assert engine.restore_state(states, "chat").wait().tokens == 0
    assert file.is_dir()
    assert "cannot be read" in engine.log_file.read_text()


# When it is written -----------------------------------------------------------------------------------------


def test_it_is_written_when_it_pays(start: Start, states: Path) -> None:
    engine = start()

    def save(**wishes: Any) -> StateSaved:
        return engine.save_state(states, "chat", **wishes).wait()

    assert save().skipped == "empty"
    reply(engine, TOLD)
    states.mkdir(parents=True, exist_ok=True)
    (states / "speed.json").write_text('{"bytes_a_second": 1000}')
    assert save().skipped == "quick"
    (states / "speed.json").write_text('{"bytes_a_second": 1e8}')
    assert save(within=1e-5).skipped == "slow"
    assert save(quota=1000).skipped == "quota"
    assert not list(states.glob("*.state"))
    assert save().tokens >= tokens(engine, TOLD)
    assert save().skipped == "unchanged"
    reply(engine, TOLD + NEW)
    (states / "speed.json").write_text('{"bytes_a_second": 1e9}')  # whatever this disk's was just now
    assert save().tokens > tokens(engine, TOLD + NEW)
    assert len(list(states.glob("*.state"))) == 1


def test_the_quota_sends_the_oldest_away(start: Start, states: Path) -> None:
    engine, sizes = start(), []
    for number in range(3):
        reply(engine, f"Story {number}. " + TOLD)
        sizes.append(engine.save_state(states, f"chat{number}").wait().bytes)
        os.utime(next(states.glob(f"chat{number}.*")), (number, number))
    assert engine.restore_state(states, "chat0").wait().tokens  # used: now it is the newest
    reply(engine, "The last story. " + TOLD)
    assert not engine.save_state(states, "chat3", quota=max(sizes) * 3 + 99).wait().skipped
    assert [path.name.partition(".")[0] for _, _, path in Shelf(states).files()] == [
        "chat2",
        "chat0",
        "chat3",
    ]


def limit_files(engine: Engine, size: int) -> None:
    """From now on the worker's files can grow no larger: for it the disk is full."""
    import resource

    assert engine.pid is not None
    resource.prlimit(engine.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_disk_that_fills_leaves_no_half_file(start: Start, states: Path) -> None:
    engine = start()
    reply(engine, TOLD)
    engine.save_state(states, "chat").wait()
    (file,) = states.glob("chat.*.state")
    before = file.read_bytes()
    reply(engine, TOLD + NEW)
    for room in (len(before) // 2, len(before) + 1000):
        limit_files(engine, max(room, engine.log_file.stat().st_size + 5000))
        saved = engine.save_state(states, "chat").wait()
        assert saved.skipped == "disk"
        assert saved.problem.count("\n") == 0
        assert str(states) in saved.problem
        assert file.read_bytes() == before
        assert [one for one in states.iterdir() if one.name.startswith(".")] == []
    assert "the chat's state is not saved" in engine.log_file.read_text()
    assert reply(engine, TOLD + NEW).evaluated_tokens == 1  # the chat goes on
    engine.close()
    assert start().restore_state(states, "chat").wait().tokens


def test_a_folder_that_cannot_be_made_is_told(start: Start, tmp_path: Path) -> None:
    engine = start()
    reply(engine, TOLD)
    (tmp_path / "file").write_text("")
    saved = engine.save_state(tmp_path / "file" / "states", "chat").wait()
    assert saved.skipped == "disk"
    assert saved.problem


def test_two_programs_save_one_chat(start: Start, states: Path) -> None:
    """The last one wins, and what lies there is whole at every moment."""
    engines = [start(), start()]
    for number, engine in enumerate(engines):
        reply(engine, TOLD + str(number))
    saving = [
        threading.Thread(
            target=lambda engine=engine: [
                (reply(engine, TOLD + NEW * (turn % 2), 1), engine.save_state(states, "chat").wait())
                for turn in range(6)
            ]
        )
        for engine in engines
    ]
    for thread in saving:
        thread.start()
    seen = 0
    while any(thread.is_alive() for thread in saving):
        for file in states.glob("chat.*.state"):
            seen += len(read_record(file).ids) > 0
    assert seen
    assert start().restore_state(states, "chat").wait().tokens >= tokens(engines[0], TOLD)
    assert not list(states.glob(".*.state.*"))


# The shelf --------------------------------------------------------------------------------------------------


def test_what_a_killed_program_left_is_swept_away(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    old, new = tmp_path / ".chat.key.state.123", tmp_path / ".chat.key.state.456"
    for file in (old, new):
        file.write_bytes(b"half")
    long_ago = time.time() - FORGOTTEN_SECONDS - 1
    os.utime(old, (long_ago, long_ago))
    assert shelf.make_room(10, shelf.file("chat", "key"))
    assert (old.exists(), new.exists()) == (False, True)


def test_a_deleted_chat_loses_all_its_states(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    for chat, key in (("a", "1"), ("a", "2"), ("ab", "1")):
        shelf.file(chat, key).write_bytes(b"state")
    shelf.forget("a")
    assert [path.name for _, _, path in shelf.files()] == ["ab.1.state"]


@pytest.mark.parametrize("chat", ["", "../a", "a/b", "/etc/passwd"])
def test_a_chat_cannot_name_another_folder(tmp_path: Path, chat: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Shelf(tmp_path).file(chat, "key")


def test_a_quota_of_nothing_said_is_a_tenth_of_the_disk_at_most(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert 0 < Shelf(tmp_path).quota <= min(8e9, free / 10 * 1.5)
    assert Shelf(tmp_path, 5).quota == 5


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"bytes_a_second": "x"}', '{"bytes_a_second": -1}', "\xff"]
)
def test_a_speed_that_is_none_is_supposed(tmp_path: Path, text: str) -> None:
    (tmp_path / "speed.json").write_text(text)
    shelf = Shelf(tmp_path)
    assert shelf.speed == SUPPOSED_SPEED
    shelf.measured(2_000_000, 0.01)
    assert 0 < shelf.speed < SUPPOSED_SPEED * 2


# The file ---------------------------------------------------------------------------------------------------

sequences = st.lists(st.tuples(st.integers(0, 300_000), st.binary(max_size=12)), max_size=40)


@given(tokens=sequences, data=st.binary(min_size=1, max_size=200), snapshots=st.lists(st.binary(max_size=20)))
def test_a_file_says_what_was_put_into_it(
    tmp_path_factory: pytest.TempPathFactory,
    tokens: list[tuple[int, bytes]],
    data: bytes,
    snapshots: list[bytes],
) -> None:
    file = tmp_path_factory.mktemp("state") / "one.state"
    file.write_bytes(data)
    cache = CachedSequence([id for id, _ in tokens], [image for _, image in tokens], {0}, len(tokens))
    held = [Checkpoint(number, snapshot) for number, snapshot in enumerate(snapshots)]
    size = finish(file, held, record_of(cache, held, {"model": "one"}, len(data), 12.5))
    assert file.stat().st_size == size
    record = read_record(file)
    assert record.sequence() == cache
    assert (record.key, record.data, record.reading) == ({"model": "one"}, len(data), 12.5)
    assert read_checkpoints(file, record) == held


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_bit_may_be_another(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int) -> None:
    file = tmp_path_factory.mktemp("state") / "one.state"
    file.write_bytes(b"llama.cpp's part")
    cache = CachedSequence([1, 2, 3], [b"a", b"", b"bc"], {1}, 2)
    finish(file, [], record_of(cache, [], {}, 16, 0.0))
    whole = bytearray(file.read_bytes())
    whole[place % len(whole)] ^= 1 << bit
    file.write_bytes(whole)
    with pytest.raises(StateFileError):
        read_record(file)
