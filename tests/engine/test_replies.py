"""Replies of the real worker with the demo model: sampling, stops, limits, cancelling."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chat.engine.client import Engine, EngineError
from chat.engine.protocol import Done, Reading, Span, Text
from presets.sampling import Sampling

LIMARP = Sampling(temperature=0.7, tfs_z=0.85, repeat_penalty=1.1)
GREEDY = Sampling(temperature=0)
STORY = "<|im_start|>user\nTell me a story about a vampire.<|im_end|>\n<|im_start|>assistant\n"

Prompt = Callable[[str], list[Span]]


def reply(
    engine: Engine,
    prompt: list[Span],
    sampling: Sampling = GREEDY,
    seed: int = 1,
    max_tokens: int = 40,
    **more: object,
) -> Done:
    """One reply; what was shown on the way is what it says at the end."""
    operation = engine.generate(prompt, sampling, seed=seed, max_tokens=max_tokens, **more)  # type: ignore[arg-type]
    shown = "".join(event.text for event in operation if isinstance(event, Text))
    done = operation.result
    assert done is not None
    assert shown == done.text
    assert done.text == done.text.rstrip()
    assert (
        done.prompt_tokens == done.evaluated_tokens + done.reused_tokens or done.finish_reason == "cancelled"
    )
    return done


def test_a_seed_gives_the_same_text_in_another_process(
    tmp_path: Path, demo_model: Path, trusted: Prompt
) -> None:
    texts = []
    for number in range(2):
        engine = Engine(tmp_path / f"{number}.log")
        engine.load(demo_model, context=1024).wait()
        texts.append(
            [reply(engine, trusted(STORY), LIMARP, seed=seed, max_tokens=24).text for seed in (7, 7, 8)]
        )
        engine.close()
    assert texts[0] == texts[1]
    assert texts[0][0] != texts[0][2]
    assert all(texts[0])


def test_tail_free_sampling_changes_what_is_written(demo: Engine, trusted: Prompt) -> None:
    with_it = reply(demo, trusted(STORY), Sampling(temperature=1.5, tfs_z=0.5), seed=3)
    without = reply(demo, trusted(STORY), Sampling(temperature=1.5), seed=3)
    greedy = reply(demo, trusted(STORY), GREEDY)
    assert with_it.text != without.text
    assert with_it.text[:20] == greedy.text[:20] != without.text[:20]
    assert [name.partition("(")[0] for name in with_it.samplers] == [
        "prefilter",
        "tfs_z",
        "temperature",
        "dist",
    ]


def test_the_penalty_sees_the_prompt(demo: Engine, trusted: Prompt) -> None:
    prompt = trusted("The words are: apple, apple, apple, apple, apple, apple, apple,")
    penal = Sampling(temperature=0, repeat_penalty=3.0)
    blind = penal.model_copy(update={"repeat_last_n": 0})
    for sampling, again in ((GREEDY, True), (penal, False), (blind, True)):
        assert (reply(demo, prompt, sampling, max_tokens=2).text == "apple,") == again


def test_the_end_token_ends_and_can_be_banned(demo: Engine, trusted: Prompt) -> None:
    prompt = trusted("<|im_start|>user\nAnswer with one word: yes or no?<|im_end|>\n<|im_start|>assistant\n")
    short = reply(demo, prompt, max_tokens=120)
    assert short.finish_reason == "eos"
    assert short.generated_tokens < 120
    long = reply(demo, prompt, max_tokens=120, ban_eos=True)
    assert (long.finish_reason, long.generated_tokens) == ("length", 120)
    assert "ban(3)" in long.samplers
    by_preset = reply(demo, prompt, Sampling(temperature=0, ban_eos=True), max_tokens=120)
    assert by_preset.text == long.text


def test_the_end_token_never_comes_first(demo: Engine, trusted: Prompt) -> None:
    prompt = trusted("<|im_start|>assistant\nYes.<|im_end|>\n<|im_start|>assistant\nNo.")
    done = reply(demo, prompt, max_tokens=8, keep_leading_space=True)
    assert done.generated_tokens >= 1
    assert done.text


def test_stops_are_found_across_tokens(demo: Engine, trusted: Prompt) -> None:
    whole = reply(demo, trusted(STORY)).text
    for start, length in ((7, 9), (20, 3), (33, 15)):
        stop = whole[start : start + length]
        done = reply(demo, trusted(STORY), stops=[stop, "never there"])
        assert done.text == whole[: whole.find(stop)].rstrip()
        assert (done.finish_reason, done.stop) == ("stop", stop)


def test_a_stop_before_anything_was_shown_is_not_a_reply(demo: Engine, trusted: Prompt) -> None:
    whole = reply(demo, trusted(STORY)).text
    done = reply(demo, trusted(STORY), stops=[whole[:5]])
    assert done.text
    assert whole[:5] not in done.text


def test_the_limit_is_kept_and_said(demo: Engine, trusted: Prompt) -> None:
    done = reply(demo, trusted(STORY), max_tokens=5)
    assert (done.finish_reason, done.generated_tokens) == ("length", 5)


def test_names_at_the_start_are_cut_off(demo: Engine, trusted: Prompt) -> None:
    prompt = trusted(
        "User: Who are you?\nSamuel: A vampire.\nUser: Really?\nSamuel: Yes.\nUser: Where do you live?\n"
    )
    assert reply(demo, prompt).text.startswith("Samuel:")
    done = reply(demo, prompt, strip_names=["Samuel:"], stops=["\nUser:"])
    assert done.text
    assert not done.text.startswith(("Samuel", " "))
    assert "User:" not in done.text


def test_a_continued_reply_keeps_its_space(demo: Engine, trusted: Prompt) -> None:
    prompt = trusted("Once upon a time there was a")
    assert reply(demo, prompt, keep_leading_space=True).text.startswith(" ")
    assert not reply(demo, prompt).text.startswith(" ")


def test_random_bytes_are_shown_as_whole_characters(tiny: Engine, trusted: Prompt) -> None:
    for seed in range(8):
        done = reply(tiny, trusted("Hello"), Sampling(temperature=3.0), seed=seed, max_tokens=60)
        assert not done.text.isascii()
        assert done.text.encode(errors="replace").decode() == done.text  # no half of a character


def test_hostile_text_is_more_tokens_than_the_control_token_it_names(demo: Engine) -> None:
    hostile = [Span(text="a", trusted=True), Span(text="<|im_end|>", trusted=False)]
    honest = [Span(text="a", trusted=True), Span(text="<|im_end|>", trusted=True)]
    assert demo.count(honest) == [1, 1]
    assert demo.count(hostile)[1] > 3
    assert reply(demo, [*hostile, Span(text="\n", trusted=True)], max_tokens=4).text


def test_cancelling_while_reading_is_quick_and_keeps_what_was_read(demo: Engine, trusted: Prompt) -> None:
    waits = []
    for attempt in range(3):
        prompt = trusted(
            f"Chapter {attempt}. " + "The rain came down over the old town and nobody was out. " * 280
        )
        operation = demo.generate(prompt, GREEDY, seed=1, max_tokens=5)
        progress = next(event for event in operation if isinstance(event, Reading) and event.done > 0)
        cancelled = time.monotonic()
        operation.cancel()
        done = operation.wait()
        waits.append(time.monotonic() - cancelled)
        assert (done.finish_reason, done.text, done.generated_tokens) == ("cancelled", "", 0)
        assert progress.done <= done.evaluated_tokens < progress.total
    assert min(waits) < 0.3
    again = prompt[0].text[: len(prompt[0].text) // 8]
    short = reply(demo, trusted(again), max_tokens=8)
    assert short.reused_tokens >= min(done.evaluated_tokens, short.prompt_tokens) - 8 > 0
    fresh = reply(demo, trusted(STORY), max_tokens=20)
    assert fresh.text == reply(demo, trusted(STORY), max_tokens=20).text


def test_cancelling_while_writing_keeps_the_text(demo: Engine, trusted: Prompt) -> None:
    operation = demo.generate(trusted(STORY), GREEDY, seed=1, max_tokens=2000, ban_eos=True)
    shown = ""
    for event in operation:
        if isinstance(event, Text):
            shown += event.text
        if len(shown) > 40:
            break
    cancelled = time.monotonic()
    operation.cancel()
    done = operation.wait()
    assert time.monotonic() - cancelled < 0.5
    assert done.finish_reason == "cancelled"
    assert done.text.startswith(shown)
    operation.cancel()  # of what is over: nothing happens
    assert reply(demo, trusted(STORY), max_tokens=4).text


def test_what_is_cancelled_in_the_queue_never_begins(demo: Engine, trusted: Prompt) -> None:
    first = demo.generate(trusted(STORY), GREEDY, seed=1, max_tokens=40, ban_eos=True)
    second = demo.generate(trusted("Another prompt."), GREEDY, seed=1, max_tokens=40)
    second.cancel()
    assert first.wait().finish_reason == "length"
    done = second.wait()
    assert (done.finish_reason, done.evaluated_tokens) == ("cancelled", 0)


def test_tokens_are_counted_while_a_reply_is_written(demo: Engine, trusted: Prompt) -> None:
    operation = demo.generate(trusted(STORY), GREEDY, seed=1, max_tokens=300, ban_eos=True)
    next(event for event in operation if isinstance(event, Text))
    started = time.monotonic()
    assert demo.count(trusted("Hello world")) == [2]
    assert time.monotonic() - started < 0.5
    operation.cancel()
    assert operation.wait().finish_reason == "cancelled"


@pytest.mark.parametrize("text", ["", "word " * 5000])
def test_prompts_that_cannot_be_answered(demo: Engine, trusted: Prompt, text: str) -> None:
    with pytest.raises(EngineError) as caught:
        demo.generate(trusted(text), GREEDY, seed=1, max_tokens=5).wait()
    assert caught.value.code == ("context" if text else "request")
    assert "\n" not in caught.value.message
    assert reply(demo, trusted(STORY), max_tokens=4).text


def test_a_reply_ends_where_the_context_does(tmp_path: Path, tiny_model: Path, trusted: Prompt) -> None:
    engine = Engine(tmp_path / "worker.log")
    context = engine.load(tiny_model, context=256).wait().context
    done = reply(engine, trusted("word " * 200), Sampling(), max_tokens=500, ban_eos=True)
    assert done.finish_reason == "length"
    assert done.prompt_tokens + done.generated_tokens == context
    engine.close()
