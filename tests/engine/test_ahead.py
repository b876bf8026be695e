"""Reading ahead and writing aside in the real worker: nothing is read twice, the chat's cache stays."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from chat.engine.client import Engine
from chat.engine.protocol import Done, Prepared, Reading, Span
from chat.engine.worker.paging import PAGE
from presets.sampling import Sampling

CONTEXT = 1024
HEADER = "<|system|>Enter RP mode. You are Samuel, a vampire who guards a library."
GREEDY = Sampling(temperature=0)


@pytest.fixture
def tiny(tmp_path: Path, tiny_model: Path) -> Iterator[Engine]:
    """The tiny model with a small context, in a worker of the test's own."""
    engine = Engine(tmp_path / "worker.log")
    engine.load(tiny_model, context=CONTEXT).wait()
    yield engine
    engine.close()


def spans(*texts: str) -> list[Span]:
    return [Span(text=text, trusted=True) for text in texts]


def turns(first: int, last: int) -> str:
    years = range(first, last)
    return "".join(f"<|user|>What was in {year}?<|model|>In {year} I saw the hill burn." for year in years)


def ask(engine: Engine, *texts: str, tokens: int = 4, **more: object) -> Done:
    operation = engine.generate(
        spans(*texts),
        GREEDY,
        seed=1,
        max_tokens=tokens,
        ban_eos=True,
        **more,  # type: ignore[arg-type]
    )
    return operation.wait()


def prepare(engine: Engine, *texts: str, draft: bool = False) -> Prepared:
    return engine.prepare(spans(*texts), "draft" if draft else "next").wait()


def size(engine: Engine, *texts: str) -> int:
    return sum(engine.count(spans(*texts)))


def divergence(first: Done, second: Done) -> float:
    """KL of the next token's distribution after the same prompt, over the best candidates of the first."""
    p, q = ({one.id: one.p for one in done.probs[0].steps[0].best} for done in (first, second))
    return sum(p[id] * math.log(p[id] / q[id]) for id in p.keys() & q.keys())


OLD, KEPT, NEW = turns(1700, 1712), turns(1712, 1720), "<|user|>And then?<|model|>"


def test_the_prompt_without_the_oldest_turns_is_read_beforehand(tiny: Engine) -> None:
    header = HEADER + turns(1600, 1606)
    ask(tiny, header, OLD, KEPT, NEW)
    prepared = prepare(tiny, header, KEPT)
    assert prepared.whole
    assert prepared.evaluated <= size(tiny, KEPT) + PAGE + 8  # whole pages of the header are shared
    done = ask(tiny, header, KEPT, NEW)
    assert done.evaluated_tokens <= size(tiny, NEW) + 8
    assert done.broken_at is None


def test_what_was_read_beforehand_is_what_reading_it_now_gives(
    tiny: Engine, tmp_path: Path, tiny_model: Path
) -> None:
    ask(tiny, HEADER, OLD, KEPT, NEW)
    prepare(tiny, HEADER, KEPT)
    swapped = ask(tiny, HEADER, KEPT, NEW, tokens=1, probs=1000)
    fresh = Engine(tmp_path / "fresh.log")
    fresh.load(tiny_model, context=CONTEXT).wait()
    read = ask(fresh, HEADER, KEPT, NEW, tokens=1, probs=1000)
    fresh.close()
    assert swapped.evaluated_tokens < read.evaluated_tokens / 4
    assert abs(divergence(read, swapped)) < 1e-4


def test_the_old_sequence_is_dropped_at_the_swap(tiny: Engine) -> None:
    ask(tiny, HEADER, OLD, KEPT, NEW)
    prepare(tiny, HEADER, KEPT)
    ask(tiny, HEADER, KEPT, NEW)
    again = ask(tiny, HEADER, OLD, KEPT, NEW)
    assert again.evaluated_tokens >= size(tiny, OLD, KEPT) - 8


def test_what_is_not_needed_any_more_is_dropped(tiny: Engine) -> None:
    ask(tiny, HEADER, OLD, KEPT, NEW)
    prepare(tiny, HEADER, KEPT)
    assert tiny.prepare([], "next").wait().whole
    assert ask(tiny, HEADER, KEPT, NEW).evaluated_tokens >= size(tiny, KEPT) - 8


def test_a_chat_that_goes_on_is_read_in_its_own_sequence(tiny: Engine) -> None:
    ask(tiny, HEADER, OLD, NEW)
    assert prepare(tiny, HEADER, OLD, NEW, KEPT).whole
    assert ask(tiny, HEADER, OLD, NEW, KEPT, NEW).evaluated_tokens <= size(tiny, NEW) + 8
    assert ask(tiny, HEADER, OLD, NEW).evaluated_tokens == 1  # and nothing of it was lost


def test_a_prompt_that_has_no_room_beside_the_chats_is_refused_and_costs_nothing(tiny: Engine) -> None:
    ask(tiny, HEADER, OLD, NEW)
    prepared = prepare(tiny, "<|system|>Another.", turns(1500, 1536))
    assert (prepared.whole, prepared.room, prepared.evaluated) == (False, False, 0)
    assert ask(tiny, HEADER, OLD, NEW).evaluated_tokens == 1


@pytest.mark.parametrize("interrupted", [False, True])
def test_slide_after_slide_gives_a_fresh_readings_distribution_to_the_last_bit(
    tmp_path: Path, demo_model: Path, interrupted: bool
) -> None:
    header = HEADER * 4
    with closing(Engine(tmp_path / "one.log")) as one, closing(Engine(tmp_path / "fresh.log")) as fresh:
        for engine in (one, fresh):
            engine.load(demo_model, context=CONTEXT).wait()
        said = turns(1700, 1708)
        ask(one, header, said, tokens=20)
        for start in (1704, 1707, 1711):
            kept = turns(start, start + 6)
            if interrupted:
                begun(one, header, kept)
                ask(one, header, said, NEW, tokens=30)
            assert prepare(one, header, kept).whole
            slid, read = (ask(engine, header, kept, NEW, probs=100, tokens=1) for engine in (one, fresh))
            assert slid.evaluated_tokens < 20 < read.evaluated_tokens
            assert slid.probs[0].steps[0].best == read.probs[0].steps[0].best
            said = kept


# Who comes first --------------------------------------------------------------------------------------------


LONG = "The bell of the old tower rang over the roofs while the rain went on. " * 60


def begun(engine: Engine, *texts: str) -> Iterator[object]:
    """A Prepare of which a part is read."""
    events = iter(engine.prepare(spans(*texts), "next"))
    for event in events:
        if isinstance(event, Reading) and event.done:
            break
    return events


def test_a_reply_comes_first_and_the_reading_goes_on_where_it_stopped(demo: Engine) -> None:
    total = size(demo, LONG)
    events = begun(demo, LONG)
    started = time.monotonic()
    done = ask(demo, "Something else.", aside=True)
    waited = time.monotonic() - started - done.write_seconds - done.read_seconds
    (stopped,) = [event for event in events if isinstance(event, Prepared)]
    assert not stopped.whole
    assert 0 < stopped.evaluated < total
    assert waited < 0.3
    rest = prepare(demo, LONG)
    assert rest.whole
    assert rest.evaluated == total - stopped.evaluated
    assert prepare(demo, LONG).evaluated == 0


def test_counting_does_not_interrupt_and_need_not_wait(demo: Engine) -> None:
    text = "Count beside this. " + LONG
    events = begun(demo, text)
    assert demo.count(spans("one two")) == [2]
    (ended,) = [event for event in events if isinstance(event, Prepared)]
    assert ended.whole


def test_nothing_is_read_ahead_behind_another_request(demo: Engine) -> None:
    """It was asked for before the reply ended, and so it speaks of a prompt that is over."""
    reply = demo.generate(spans("Once upon a time"), GREEDY, seed=1, max_tokens=8, ban_eos=True)
    late = demo.prepare(spans("Late. " + LONG), "draft").wait()
    assert (late.whole, late.evaluated) == (False, 0)
    reply.wait()
    assert ask(demo, "Once upon a time").evaluated_tokens == 1


# The draft --------------------------------------------------------------------------------------------------


def test_a_draft_that_is_said_was_read(tiny: Engine) -> None:
    ask(tiny, HEADER, OLD, NEW)
    said = "<|user|>Come with me to the old tower, and bring a lamp.<|model|>"
    assert prepare(tiny, HEADER, OLD, said, draft=True).whole
    done = ask(tiny, HEADER, OLD, said)
    assert done.evaluated_tokens == 1
    assert done.broken_at is None


def test_an_edit_withdraws_the_draft_and_breaks_nothing(tiny: Engine) -> None:
    ask(tiny, HEADER, OLD, NEW)
    before = "<|user|>Come with me to the old tower, and "
    prepare(tiny, HEADER, OLD, before + "bring a lamp.<|model|>", draft=True)
    done = ask(tiny, HEADER, OLD, before + "leave the lamp.<|model|>")
    assert done.evaluated_tokens <= size(tiny, "leave the lamp.<|model|>") + 8
    assert done.broken_at is None
    prepare(tiny, HEADER, OLD, NEW, "<|user|>Never said.<|model|>", draft=True)
    assert ask(tiny, HEADER, OLD, NEW).evaluated_tokens == 1


# Aside ------------------------------------------------------------------------------------------------------


def test_a_side_task_leaves_the_chats_cache_as_it_was(tiny: Engine) -> None:
    written = ask(tiny, HEADER, OLD, NEW, tokens=12)
    aside = ask(tiny, HEADER, OLD, "<|user|>", tokens=30, aside=True)
    assert aside.evaluated_tokens <= 8  # it begins with what the chat has read
    again = ask(tiny, HEADER, OLD, NEW, written.text, "<|user|>Go on.<|model|>")
    assert again.evaluated_tokens <= size(tiny, "<|user|>Go on.<|model|>") + 8
    assert again.broken_at is None


def test_a_side_task_about_something_else_leaves_it_too(tiny: Engine) -> None:
    ask(tiny, HEADER, OLD, NEW)
    assert ask(tiny, "A title for this:", KEPT, aside=True).evaluated_tokens > 100
    assert ask(tiny, HEADER, OLD, NEW).evaluated_tokens == 1


# Shifting ---------------------------------------------------------------------------------------------------


def test_the_shift_moves_up_what_stays(tiny: Engine) -> None:
    ask(tiny, HEADER, OLD, KEPT, NEW)
    done = ask(tiny, HEADER, KEPT, NEW, shift=True)
    assert done.shifted_tokens >= size(tiny, KEPT) - 16
    assert done.evaluated_tokens <= size(tiny, NEW) + 8
    assert ask(tiny, HEADER, KEPT, NEW).evaluated_tokens == 1


def test_the_shift_is_approximate_and_nearly_right(demo: Engine) -> None:
    """About 1e-2 for a block of a few hundred tokens, as measured elsewhere: far from what garbage gives."""
    kept = " ".join(f"In {year} there was war." for year in range(1700, 1740))
    ask(demo, "A chronicle.\n", LONG[: len(LONG) // 4] + "\n", kept)
    shifted = ask(demo, "A chronicle.\n", kept, " In", tokens=1, probs=1000, shift=True)
    assert shifted.shifted_tokens > 200
    assert shifted.evaluated_tokens < 20
    ask(demo, "Nothing.")
    read = ask(demo, "A chronicle.\n", kept, " In", tokens=1, probs=1000)
    assert read.evaluated_tokens > 200
    assert 1e-6 < divergence(read, shifted) < 0.3


def test_where_nothing_fits_the_shift_reads(tiny: Engine) -> None:
    ask(tiny, HEADER, OLD, NEW)
    other = ask(tiny, HEADER, turns(1800, 1810), NEW, shift=True)
    assert other.shifted_tokens == 0
    assert other.evaluated_tokens > 100
