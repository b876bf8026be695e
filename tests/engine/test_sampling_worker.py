"""Settings that need a model: banned phrases, grammars, minimum length, biases, candidates on record."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from chat.engine.client import Engine, EngineError
from chat.engine.protocol import Done, Span, Text
from presets.sampling import Sampling

STORY = "<|im_start|>user\nTell me a story about a vampire.<|im_end|>\n<|im_start|>assistant\n"
QUESTION = "<|im_start|>user\nAnswer with one word: yes or no?<|im_end|>\n<|im_start|>assistant\n"

Prompt = Callable[[str], list[Span]]

REQUEST = ("stops", "probs", "ban_eos", "grammar_text", "grammar_after", "keep_leading_space")
"""What is of the request, not of the sampling."""


def reply(
    engine: Engine, prompt: list[Span], max_tokens: int = 40, seed: int = 1, **settings: object
) -> Done:
    """One reply, greedy unless a temperature is given; what was shown is what it says at the end."""
    request = {name: settings.pop(name) for name in REQUEST if name in settings}
    sampling = Sampling.model_validate({"temperature": 0, **settings})
    operation = engine.generate(prompt, sampling, seed=seed, max_tokens=max_tokens, **request)  # type: ignore[arg-type]
    shown = "".join(event.text for event in operation if isinstance(event, Text))
    done = operation.result
    assert done is not None
    assert shown == done.text
    return done


def test_a_banned_phrase_is_written_around(demo: Engine, trusted: Prompt) -> None:
    whole = reply(demo, trusted(STORY), 60)
    words = whole.text.split()
    beginning = " ".join(words[:5])
    late = (" ".join(words[place : place + 3]) for place in range(12, 30))
    phrases = [
        " ".join(words[3:5]).upper(),
        " ".join(words[10:12]),
        next(phrase for phrase in late if phrase not in beginning),
    ]
    done = reply(demo, trusted(STORY), 60, banned_strings=phrases)
    assert not any(phrase.lower() in done.text.lower() for phrase in phrases)
    assert done.text.startswith(" ".join(words[:3]))
    assert done.rewound_tokens > 0
    assert done.samplers[0] == "banned_strings(3)"
    assert (done.finish_reason, done.generated_tokens) == ("length", 60)
    again = reply(demo, trusted(STORY), 60, banned_strings=phrases)
    assert again.text == done.text


def test_after_going_back_the_cache_holds_what_was_written(demo: Engine, trusted: Prompt) -> None:
    words = reply(demo, trusted(STORY), 40).text.split()
    done = reply(demo, trusted(STORY), 40, banned_strings=[" ".join(words[3:5]), " ".join(words[10:12])])
    after = reply(demo, trusted(STORY + done.text + "<|im_end|>\n"), 4)
    assert after.evaluated_tokens < 8
    assert after.broken_at is None


def test_a_phrase_that_is_not_there_costs_nothing(demo: Engine, trusted: Prompt) -> None:
    plain = reply(demo, trusted(STORY), temperature=0.8, repeat_penalty=1.1)
    done = reply(demo, trusted(STORY), temperature=0.8, repeat_penalty=1.1, banned_strings=["never there"])
    assert (done.text, done.rewound_tokens) == (plain.text, 0)


def test_no_strength_is_no_ban(demo: Engine, trusted: Prompt) -> None:
    plain = reply(demo, trusted(STORY))
    done = reply(demo, trusted(STORY), banned_strings=[plain.text[:6]], banned_strength=0)
    assert done.text == plain.text
    weak = reply(demo, trusted(STORY), banned_strings=[plain.text[:6]], banned_strength=0.001)
    assert weak.text == plain.text
    assert weak.rewound_tokens > 0


def test_a_dead_end_is_left(demo: Engine, trusted: Prompt) -> None:
    letters = [*"abcdefghijklmnopqrst", " "]
    done = reply(demo, trusted(STORY), 12, banned_strings=letters)
    assert not set(letters) & set(done.text.lower())
    everything = [chr(code) for code in range(32, 127)]
    reply(demo, trusted(STORY), 12, banned_strings=everything, ban_eos=True)


def test_stops_are_found_behind_held_back_text(demo: Engine, trusted: Prompt) -> None:
    whole = reply(demo, trusted(STORY)).text
    stop, never = whole[7:16], whole[7:30] + " never"
    done = reply(demo, trusted(STORY), stops=[stop], banned_strings=[never])
    assert done.text == whole[: whole.find(stop)].rstrip()
    assert (done.finish_reason, done.stop) == ("stop", stop)


@pytest.mark.parametrize(
    ("grammar", "pattern"),
    [
        ('root ::= "maybe" | "perhaps"', r"maybe|perhaps"),
        ('root ::= "*" [a-z ]+ "*"', r"\*[a-z ]+(\*)?"),
        ("root ::= [0-9] [0-9] [0-9]", r"\d{3}"),
    ],
)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_grammar_is_followed(
    demo: Engine, trusted: Prompt, grammar: str, pattern: str, temperature: float
) -> None:
    done = reply(demo, trusted(QUESTION), 12, grammar=grammar, temperature=temperature)
    assert re.fullmatch(pattern, done.text)
    assert "grammar" in done.samplers
    if "\\*" not in pattern:
        assert done.finish_reason == "eos"


def test_a_complete_grammar_ends_the_reply_even_where_the_end_is_banned(
    demo: Engine, trusted: Prompt
) -> None:
    done = reply(demo, trusted(QUESTION), grammar='root ::= "maybe"', ban_eos=True)
    assert (done.text, done.finish_reason) == ("maybe", "eos")


def test_a_grammar_and_banned_phrases_go_together(demo: Engine, trusted: Prompt) -> None:
    grammar = 'root ::= ("yes" | "no" | "maybe") "."'
    texts = [
        reply(demo, trusted(QUESTION), grammar=grammar, banned_strings=banned).text
        for banned in ([], ["yes"], ["yes", "no"], ["yes", "maybe"])
    ]
    assert set(texts[1:]) <= {"no.", "maybe."}
    assert texts[2:] == ["maybe.", "no."]
    nothing = reply(demo, trusted(QUESTION), grammar=grammar, banned_strings=["yes", "no", "maybe"])
    assert nothing.finish_reason == "stop"
    assert not any(word in nothing.text for word in ("yes", "no", "maybe"))


@pytest.mark.parametrize("grammar", ["root ::= (", 'start ::= "a"', "root ::= missing"])
def test_a_grammar_that_cannot_be_read_is_refused(demo: Engine, trusted: Prompt, grammar: str) -> None:
    with pytest.raises(EngineError) as caught:
        reply(demo, trusted(QUESTION), grammar=grammar)
    assert caught.value.code == "request"
    assert "grammar" in caught.value.message
    assert reply(demo, trusted(QUESTION), 3).text


def test_a_reply_has_its_minimum_length(demo: Engine, trusted: Prompt) -> None:
    short = reply(demo, trusted(QUESTION), 120)
    assert short.finish_reason == "eos"
    least = short.generated_tokens + 15
    done = reply(demo, trusted(QUESTION), 200, min_tokens=least)
    assert done.generated_tokens >= least
    assert done.finish_reason == "eos"


def test_xtc_lets_replies_end(demo: Engine, trusted: Prompt) -> None:
    ends = [
        reply(demo, trusted(QUESTION), 30, seed=seed, temperature=1, xtc_probability=1, xtc_threshold=0.02)
        for seed in range(4)
    ]
    assert "eos" in {done.finish_reason for done in ends}


def test_texts_are_biased_and_banned(demo: Engine, trusted: Prompt) -> None:
    first = reply(demo, trusted(STORY), 1).text
    for settings in (
        {"logit_bias": {first: -100}},
        {"banned_tokens": [first]},
        {"logit_bias": {first: -30.0}},
    ):
        done = reply(demo, trusted(STORY), 1, **settings)
        assert done.text != first
    assert reply(demo, trusted(STORY), 3, logit_bias={"castle": 40}).text.count("castle") == 3
    ended = reply(demo, trusted(QUESTION), 60, banned_tokens=["<|im_end|>"])
    assert ended.generated_tokens > reply(demo, trusted(QUESTION), 60).generated_tokens


def test_the_candidates_are_recorded(demo: Engine, trusted: Prompt) -> None:
    settings: dict[str, Any] = {
        "temperature": 0.9,
        "top_k": 40,
        "tfs_z": 0.95,
        "repeat_penalty": 1.2,
        "min_p": 0.05,
    }
    plain = reply(demo, trusted(QUESTION), 30, **settings)
    done = reply(demo, trusted(QUESTION), 30, probs=5, **settings)
    assert plain.text == done.text
    assert plain.probs == []
    assert len(done.probs) == done.generated_tokens + (done.finish_reason == "eos")
    assert "".join(token.text for token in done.probs[: done.generated_tokens]).strip() == done.text
    for token in done.probs:
        names = [step.sampler.partition("(")[0] for step in token.steps]
        assert names[0] == "model"
        assert [name for name in names if name in settings] == [
            "repeat_penalty", "top_k", "tfs_z", "min_p", "temperature",
        ]  # fmt: skip
        for step in token.steps:
            assert 1 <= len(step.best) <= 5
            assert step.best == sorted(step.best, key=lambda candidate: -candidate.p)
            assert sum(candidate.p for candidate in step.best) <= 1.0001
        assert token.steps[-1].left <= 40
        assert token.id in {candidate.id for candidate in token.steps[-1].best} or token.steps[-1].left > 5


def test_taken_back_tokens_are_not_on_record(demo: Engine, trusted: Prompt) -> None:
    words = reply(demo, trusted(STORY), 30).text.split()
    done = reply(demo, trusted(STORY), 30, probs=3, banned_strings=[" ".join(words[3:5])])
    assert done.rewound_tokens > 0
    assert "".join(token.text for token in done.probs).strip() == done.text


def test_names_and_markers_break_drys_sequences(demo: Engine, trusted: Prompt) -> None:
    prompt = trusted("Elara Voss walks. Elara Voss sings. Elara Voss dances. Elara Voss laughs. Elara")
    sampling = Sampling(temperature=0, dry_multiplier=8.0, dry_allowed_length=1)
    first = {}
    for name, breakers in (("without", ()), ("with", ("Elara Voss", "Elara", "Voss")), ("again", ())):
        operation = demo.generate(
            prompt, sampling, seed=1, max_tokens=3, keep_leading_space=True, dry_breakers=breakers
        )
        first[name] = operation.wait().text
    assert first["with"].startswith(" Vos")
    assert not first["without"].startswith(" Vos")
    assert first["again"] == first["without"]


def test_the_order_is_the_workers_too(demo: Engine, trusted: Prompt) -> None:
    done = reply(demo, trusted(QUESTION), 2, temperature=1.5, min_p=0.1, samplers=["temperature", "min_p"])
    assert done.samplers == ["prefilter(1e-05)", "temperature(1.5)", "min_p(0.1)", "dist"]


@pytest.mark.parametrize(
    "settings",
    [
        {"dynatemp_range": 0.5, "temperature": 1.0, "min_p": 0.05},
        {"smoothing_factor": 0.3, "smoothing_curve": 1.5, "temperature": 1.0},
        {"top_a": 0.3, "temperature": 1.0},
        {"mirostat": 1, "temperature": 0.8},
        {"mirostat": 2, "temperature": 0.8, "repeat_penalty": 1.1, "repeat_penalty_slope": 0.7},
        {"adaptive_target": 0.5, "min_p": 0.05, "temperature": 1.0},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_a_seed_gives_its_text_again(demo: Engine, trusted: Prompt, settings: dict[str, Any]) -> None:
    one, two = (reply(demo, trusted(STORY), 16, seed=5, **settings) for _ in range(2))
    assert one.text == two.text
    assert one.text


LETTERS = 'root ::= "Dear " ("Alex" | "Vera") ", " [a-z ]+ "." "\\n" "Yours"'


def test_a_grammar_goes_on_behind_what_is_written(demo: Engine, trusted: Prompt) -> None:
    whole = reply(demo, trusted(STORY), 60, grammar=LETTERS, temperature=0.7)
    assert re.fullmatch(r"Dear (Alex|Vera), [a-z ]+(\.\nYours)?", whole.text)
    for place in (3, 7, 11, 20):
        begun = whole.text[:place]
        more = reply(
            demo,
            [*trusted(STORY + begun)],
            40,
            grammar=LETTERS,
            grammar_text=begun,
            keep_leading_space=True,
        )
        assert re.fullmatch(r"Dear (Alex|Vera), [a-z ]+(\.(\n(Y.*)?)?)?", begun + more.text)
        assert more.text


def test_a_grammar_that_is_complete_lets_nothing_follow(demo: Engine, trusted: Prompt) -> None:
    done = reply(demo, trusted(QUESTION), 10, grammar='root ::= "yes"', grammar_text="yes")
    assert (done.text, done.finish_reason, done.generated_tokens) == ("", "eos", 0)


def test_text_that_does_not_follow_the_grammar_is_refused(demo: Engine, trusted: Prompt) -> None:
    with pytest.raises(EngineError) as caught:
        reply(demo, trusted(QUESTION), 10, grammar='root ::= "yes" | "no"', grammar_text="maybe")
    assert caught.value.code == "request"
    assert "does not follow the grammar" in str(caught.value)
    assert reply(demo, trusted(QUESTION), 10, grammar='root ::= "yes"').text == "yes"


def test_a_grammar_behind_thinking(demo: Engine, trusted: Prompt) -> None:
    """The model repeats what it said before, thinking first; the grammar holds for what comes behind that."""
    turn = "<|im_start|>user\nHm.</think>\n\nyes<|im_end|>\n<|im_start|>assistant\n"
    before = "<|im_start|>system\nRepeat the user's text.<|im_end|>\n"
    prompt = trusted(f"{before}{turn}Hm.</think>\n\nyes<|im_end|>\n{turn}")
    assert reply(demo, prompt, 20).text.startswith("Hm.</think>")
    marks = ["</thought>", "</think>"]
    done = reply(demo, prompt, 20, grammar='root ::= "no " [a-z]+', grammar_after=marks)
    thought, _, said = done.text.partition("</think>")
    assert thought == "Hm."
    assert re.fullmatch(r"\s*no [a-z]+", said)
    assert done.finish_reason in ("eos", "length")
