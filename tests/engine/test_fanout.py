"""Several replies at once on the real worker: side by side, each by its own seed, and any of them goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chat.engine.client import Engine, EngineError
from chat.engine.protocol import Done, Reading, ReplyDone, Span, SwipesDone, Text
from chat.engine.worker.siblings import SHARED
from presets.sampling import Sampling

STORY = "<|im_start|>user\nTell me a story about a vampire.<|im_end|>\n<|im_start|>assistant\n"
MORE = "<|im_end|>\n<|im_start|>user\nGo on.<|im_end|>\n<|im_start|>assistant\n"
NEAR = 0.02
"""Of probability: a batch of several differs from a batch of one in its last bits."""

Prompt = Callable[[str], list[Span]]


def several(
    engine: Engine, prompt: list[Span], seeds: list[int], length: int = 30, **asked: object
) -> SwipesDone:
    """All replies; what was shown of each is what it says at the end."""
    sampling = asked.pop("sampling", Sampling(temperature=0.8, min_p=0.02))
    assert isinstance(sampling, Sampling)
    shown = [""] * len(seeds)
    done: dict[int, Done] = {}
    operation = engine.swipes(prompt, sampling, seeds=seeds, max_tokens=length, **asked)  # type: ignore[arg-type]
    for event in operation:
        if isinstance(event, Text):
            assert event.reply not in done
            shown[event.reply] += event.text
        elif isinstance(event, ReplyDone):
            done[event.reply] = event.done
            assert event.error == ""
    whole = operation.wait()
    assert [done[place] for place in range(len(seeds))] == whole.replies
    assert [reply.text for reply in whole.replies] == shown
    return whole


def alone(engine: Engine, prompt: list[Span], seed: int, length: int = 30, **asked: object) -> Done:
    sampling = asked.pop("sampling", Sampling(temperature=0.8, min_p=0.02))
    assert isinstance(sampling, Sampling)
    return engine.generate(prompt, sampling, seed=seed, max_tokens=length, **asked).wait()  # type: ignore[arg-type]


def tokens(done: Done) -> list[int]:
    """What was sampled, as far as it is on record."""
    return [token.id for token in done.probs]


def shared(one: list[int], other: list[int]) -> int:
    """First tokens that two replies have in common."""
    return next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def test_the_prompt_is_read_once_and_all_replies_stream_side_by_side(demo: Engine, trusted: Prompt) -> None:
    prompt = trusted("Side by side. " + STORY)
    order: list[int] = []
    operation = demo.swipes(
        prompt, Sampling(temperature=0.9), seeds=[1, 2, 3, 4], max_tokens=24, ban_eos=True
    )
    read = 0
    for event in operation:
        if isinstance(event, Reading):
            read = max(read, event.done)
        elif isinstance(event, Text):
            order.append(event.reply)
    replies = operation.wait().replies
    assert len({reply.text for reply in replies}) == 4
    assert read == replies[0].evaluated_tokens == replies[0].prompt_tokens
    assert [(reply.evaluated_tokens, reply.reused_tokens) for reply in replies[1:]] == [(0, read)] * 3
    assert {*order[:12]} == {0, 1, 2, 3}
    assert [reply.generated_tokens for reply in replies] == [24] * 4


def test_each_is_what_its_seed_gives_alone(tiny: Engine, trusted: Prompt) -> None:
    """The first token comes from the same numbers; then as long as the texts agree, so do the candidates.
    (Weights that are not quantized: rounding makes much of the last bits.)"""
    prompt = trusted(STORY)
    compared = 0
    for seed, reply in zip((5, 6, 7), several(tiny, prompt, [5, 6, 7], probs=4).replies, strict=True):
        single = alone(tiny, prompt, seed, probs=4)
        assert tokens(single)[:2] == tokens(reply)[:2]
        for place in range(shared(tokens(single), tokens(reply))):
            model = {one.id: one.p for one in single.probs[place].steps[0].best}
            for candidate in reply.probs[place].steps[0].best:
                assert model.get(candidate.id, candidate.p) == pytest.approx(candidate.p, abs=2e-3)
                compared += 1
    assert compared > 40


@pytest.mark.parametrize("chosen", [0, 1, 2, 3])
def test_any_of_them_goes_on_without_being_read(demo: Engine, trusted: Prompt, chosen: int) -> None:
    prompt = f"Chosen {chosen}. " + STORY
    replies = several(demo, trusted(prompt), [1, 2, 3, 4], 20, ban_eos=True).replies
    for place in (chosen, (chosen + 1) % 4):  # and the one that was not chosen at first
        spans = [*trusted(prompt), Span(text=replies[place].text, trusted=False), *trusted(MORE)]
        new = demo.count(spans)[2]
        done = alone(demo, spans, 9, 4)
        assert done.evaluated_tokens <= new + 8
        assert done.broken_at is None


def test_the_reply_that_stood_there_goes_on_too(demo: Engine, trusted: Prompt) -> None:
    prompt = "Stood there. " + STORY
    first = alone(demo, trusted(prompt), 1, 20, ban_eos=True)
    again = several(demo, trusted(prompt), [2, 3], 20).replies
    assert again[0].evaluated_tokens == 1
    spans = [*trusted(prompt), Span(text=first.text, trusted=False), *trusted(MORE)]
    assert alone(demo, spans, 9, 4).evaluated_tokens <= demo.count(spans)[2] + 8


def test_what_goes_on_is_what_reading_it_gives(demo: Engine, trusted: Prompt, tmp_path: Path) -> None:
    """The cells that a reply left behind hold what the prompt says: a fresh read has the same candidates."""
    prompt = "The same. " + STORY
    reply = several(demo, trusted(prompt), [1, 2, 3], 24, ban_eos=True).replies[1]
    spans = [*trusted(prompt), Span(text=reply.text, trusted=False), *trusted(MORE)]
    kept = alone(demo, spans, 9, 1, probs=5)
    alone(demo, trusted("Something else."), 1, 1)
    other = Engine(tmp_path / "other.log")
    try:
        assert demo.loaded is not None
        other.load(Path(demo.loaded.path), context=1024).wait()
        fresh = alone(other, spans, 9, 1, probs=5)
    finally:
        other.close()
    assert kept.evaluated_tokens < fresh.evaluated_tokens
    model = {one.id: one.p for one in fresh.probs[0].steps[0].best}
    for candidate in kept.probs[0].steps[0].best[:2]:  # what was sampled may be other tokens of the same text
        assert model[candidate.id] == pytest.approx(candidate.p, abs=4 * NEAR)


def test_replies_of_different_lengths_leave_the_batch(demo: Engine, trusted: Prompt) -> None:
    replies = several(demo, trusted(STORY), [1, 2, 3, 4, 5], 60, stops=["."]).replies
    assert len({reply.generated_tokens for reply in replies}) > 2
    for reply in replies:
        assert "." not in reply.text
        assert reply.finish_reason == ("stop" if reply.stop else "length")
    spans = [*trusted(STORY), Span(text=replies[0].text, trusted=False), *trusted(MORE)]
    assert alone(demo, spans, 9, 4).evaluated_tokens <= demo.count(spans)[2] + 8


def test_banned_phrases_are_written_around_in_each(demo: Engine, trusted: Prompt) -> None:
    prompt, cold = trusted(STORY), Sampling(temperature=0.3)
    plain = several(demo, prompt, [1, 2, 3], 40, sampling=cold).replies
    phrases = [" ".join(reply.text.split()[4:6]) for reply in plain]
    banned = Sampling(temperature=0.3, banned_strings=tuple(phrases))
    replies = several(demo, prompt, [1, 2, 3], 40, sampling=banned, probs=2).replies
    assert any(reply.rewound_tokens for reply in replies)
    for reply in replies:
        assert not any(phrase.lower() in reply.text.lower() for phrase in phrases)
        assert len(reply.probs) >= reply.generated_tokens
    for reply in replies:
        spans = [*prompt, Span(text=reply.text, trusted=False), *trusted(MORE)]
        done = alone(demo, spans, 9, 4)
        assert done.evaluated_tokens <= demo.count(spans)[2] + 8
        assert done.broken_at is None


def test_siblings_that_begin_alike_are_led_apart(demo: Engine, trusted: Prompt) -> None:
    """Two candidates at each place, the likelier one nearly always drawn: by themselves all are alike."""
    cold = Sampling(temperature=0.05, top_k=2)
    replies = several(demo, trusted(STORY), [1, 2, 3, 4], 24, sampling=cold, probs=2).replies
    for number, one in enumerate(replies):
        for other in replies[:number]:
            assert shared(tokens(one), tokens(other)) <= SHARED
    assert "siblings(3)" in replies[0].samplers


def test_one_after_the_other_too(demo: Engine, trusted: Prompt) -> None:
    cold = Sampling(temperature=0.05, top_k=2)
    texts: list[str] = []
    found: list[list[int]] = []
    for seed in range(3):
        done = alone(demo, trusted(STORY), seed, 24, sampling=cold, siblings=texts, probs=2)
        assert all(shared(tokens(done), before) <= SHARED for before in found)
        texts.append(done.text)
        found.append(tokens(done))
    assert alone(demo, trusted(STORY), 0, 24, sampling=cold).text == texts[0]


def test_no_choice_is_no_choice(demo: Engine, trusted: Prompt) -> None:
    counting = trusted("".join(f"{number}, " for number in range(1, 40)) + "40,")
    replies = several(demo, counting, [1, 2, 3], 24, sampling=Sampling(top_k=1)).replies
    assert {reply.text for reply in replies} == {"41, 42, 43, 44, 45, 46,"}


def test_a_cancel_keeps_what_each_has_written(demo: Engine, trusted: Prompt) -> None:
    operation = demo.swipes(trusted(STORY), Sampling(), seeds=[1, 2, 3], max_tokens=400, ban_eos=True)
    pieces, asked = 0, 0.0
    for event in operation:
        pieces += isinstance(event, Text)
        if pieces == 12 and not asked:
            operation.cancel()
            asked = time.monotonic()
    assert time.monotonic() - asked < 1.5
    replies = operation.wait().replies
    assert all(reply.finish_reason == "cancelled" and reply.text for reply in replies)
    assert all(reply.generated_tokens < 40 for reply in replies)


def test_one_can_be_ended_alone(demo: Engine, trusted: Prompt) -> None:
    operation = demo.swipes(trusted(STORY), Sampling(), seeds=[1, 2], max_tokens=48, ban_eos=True)
    for event in operation:
        if isinstance(event, Text) and event.reply == 0:
            operation.end(0)
    first, second = operation.wait().replies
    assert (first.finish_reason, second.finish_reason) == ("cancelled", "length")
    assert first.generated_tokens < second.generated_tokens == 48


def test_a_cancel_while_the_prompt_is_read_leaves_nothing_behind(demo: Engine, trusted: Prompt) -> None:
    long = trusted("Reading. " + "The road went up and down. " * 300 + STORY)
    operation = demo.swipes(long, Sampling(), seeds=[1, 2], max_tokens=40)
    for event in operation:
        if isinstance(event, Reading) and event.done:
            operation.cancel()
    replies = operation.wait().replies
    assert [(one.finish_reason, one.text, one.generated_tokens) for one in replies] == [
        ("cancelled", "", 0)
    ] * 2
    assert alone(demo, trusted(STORY), 1, 4).generated_tokens


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Engine]:
    """A context of 512 tokens, which the tiny model fills in no time."""
    engine = Engine(tmp_path_factory.mktemp("small") / "worker.log")
    engine.load(tiny_model, context=512).wait()
    yield engine
    engine.close()


def test_so_many_as_fit(small: Engine, trusted: Prompt) -> None:
    assert small.loaded is not None
    prompt = trusted(STORY)
    held, taken = small.loaded.cells, sum(small.count(prompt))
    half = (held - taken) // 8
    length = 2 * half
    # Room for four at full length: eight get half of it, and nine halves are too many.
    eight = several(small, prompt, list(range(8)), length, ban_eos=True).replies
    assert {reply.generated_tokens for reply in eight} == {half}
    assert {reply.finish_reason for reply in eight} == {"length"}
    with pytest.raises(EngineError) as refused:
        small.swipes(prompt, Sampling(), seeds=list(range(9)), max_tokens=length).wait()
    assert refused.value.code == "room"
    assert str(refused.value) == (
        f"9 replies at once do not fit: memory holds {held} tokens, the prompt takes {taken}"
        f" and each reply at least {half}; 8 fit."
    )
    with pytest.raises(EngineError, match="places for"):
        small.swipes(prompt, Sampling(), seeds=list(range(40)), max_tokens=4).wait()
    assert alone(small, prompt, 1, 4).generated_tokens == 4


def test_what_stood_beside_makes_room(small: Engine, trusted: Prompt) -> None:
    """Fan-outs one after the other, each filling the cache: the replies of the last one give way."""
    assert small.loaded is not None
    for name in ("First", "Second", "Third"):
        prompt = trusted(f"{name}. " + STORY)
        length = (small.loaded.cells - sum(small.count(prompt))) // 4
        replies = several(small, prompt, [1, 2, 3, 4], length, ban_eos=True).replies
        assert {reply.generated_tokens for reply in replies} == {length}


def test_settings_that_are_none_are_told_before_anything_is_read(demo: Engine, trusted: Prompt) -> None:
    with pytest.raises(EngineError, match="grammar"):
        demo.swipes(trusted(STORY), Sampling(grammar="root ::= ("), seeds=[1, 2], max_tokens=4).wait()


def test_a_grammar_holds_for_each(demo: Engine, trusted: Prompt) -> None:
    grammar = 'root ::= ("yes" | "no" | "never" | "always") "."'
    settings = Sampling(temperature=2.0, grammar=grammar)
    replies = several(demo, trusted(STORY), [1, 2, 3, 4], 12, sampling=settings).replies
    assert {reply.text for reply in replies} <= {"yes.", "no.", "never.", "always."}
