"""From turn to turn only what is new is read, on both vocabularies, and the reason is told when it is
more."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chat.engine.client import Engine
from chat.engine.protocol import Done, Span
from presets.sampling import Sampling

CHATML = (
    "<|im_start|>system\nYou are Samuel.<|im_end|>\n",
    "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
    "<|im_end|>\n",
)
METHARME = ("<|system|>Enter RP mode. You are Samuel.", "<|user|>{}<|model|>", "")
LIMARP = (
    "### Instruction:\nSamuel's Persona: a vampire\n",
    "\n### Input:\nUser: {}\n\n### Response:\nSamuel:",
    "\n",
)
SPACED = ("A chat between a user and Samuel.", " USER: {} ASSISTANT: ", "")


def talk(
    engine: Engine, shape: tuple[str, str, str], turns: int, sampling: Sampling, stops: list[str]
) -> list[int]:
    """Surplus tokens that each turn read beyond what was new in it."""
    header, opening, closing = shape
    spans = [Span(text=header, trusted=True)]
    surplus: list[int] = []
    for turn in range(turns):
        before = len(spans)
        question = Span(text=opening.format(f"And what did you see in year {1700 + turn}?"), trusted=True)
        spans.append(question)
        done = engine.generate(spans, sampling, seed=turn, max_tokens=32, stops=stops).wait()
        if turn:
            new = sum(engine.count(spans)[before - 1 :])
            surplus.append(done.evaluated_tokens - new)
            assert done.broken_at is None
            assert done.reused_tokens > 0
        spans.append(Span(text=done.text, trusted=False))
        spans.append(Span(text=closing, trusted=True))
    return surplus


@pytest.mark.parametrize(
    ("name", "shape", "stops"),
    [
        pytest.param("demo", CHATML, [], id="demo-chatml"),
        pytest.param("demo", LIMARP, ["\n### Input", "\nUser:"], id="demo-limarp"),
        pytest.param("demo", SPACED, ["USER:"], id="demo-spaced"),
        pytest.param("tiny", CHATML, [], id="tiny-chatml"),
        pytest.param("tiny", LIMARP, ["\n### Input", "\nUser:"], id="tiny-limarp"),
        pytest.param("tiny", METHARME, ["<|user|>"], id="tiny-metharme"),
    ],
)
def test_a_turn_reads_what_is_new(
    name: str, shape: tuple[str, str, str], stops: list[str], request: pytest.FixtureRequest
) -> None:
    engine, turns = request.getfixturevalue(name), 8 if name == "tiny" else 4
    # A line break before a reply is not in its text: that prompt is another one, and is read again.
    sampling = Sampling(logit_bias={"\n": -100, "\n\n": -100})
    surplus = talk(engine, shape, turns, sampling, stops)
    assert max(surplus) <= 8
    assert sum(surplus) / len(surplus) <= 3


def test_the_leading_space_of_a_reply_is_neither_shown_nor_read_again(tiny: Engine) -> None:
    """Half of the random replies begin with a space, as Metharme's do; their text never does."""
    surplus = []
    for seed in range(12):
        prompt = [Span(text=f"<|system|>Chat {seed}.<|user|>hi<|model|>", trusted=True)]
        done = tiny.generate(prompt, Sampling(), seed=seed, max_tokens=16).wait()
        assert not done.text.startswith(" ")
        prompt += [Span(text=done.text, trusted=False), Span(text="<|user|>more<|model|>", trusted=True)]
        new = tiny.count(prompt)[2]
        again = tiny.generate(prompt, Sampling(), seed=seed, max_tokens=2).wait()
        surplus.append(again.evaluated_tokens - new)
    assert max(surplus) <= 8


def trust(*texts: str) -> list[Span]:
    return [Span(text=text, trusted=True) for text in texts]


@pytest.fixture
def turn(demo: Engine) -> Callable[..., Done]:
    def turn(*texts: str) -> Done:
        return demo.generate(
            trust(*texts), Sampling(temperature=0), seed=1, max_tokens=12, ban_eos=True
        ).wait()

    return turn


def test_regenerating_reads_one_token(turn: Callable[..., Done]) -> None:
    prompt = "Regenerate this: the old castle stood"
    first, again = turn(prompt), turn(prompt)
    assert again.evaluated_tokens == 1
    assert again.broken_at is None
    assert again.text == first.text


def test_continuing_reads_what_was_not_read_yet(turn: Callable[..., Done]) -> None:
    prompt = "Continue this: the old castle stood"
    first = turn(prompt)
    more = turn(prompt, " " + first.text)
    assert more.evaluated_tokens <= 3
    assert more.broken_at is None


def test_an_edit_reads_from_where_it_differs_and_says_so(turn: Callable[..., Done]) -> None:
    head = "One two three four five six seven eight nine ten. " * 6
    turn(head, "The castle was old and grey. It stood on a hill above the village.")
    edited = turn(head, "The castle was new and grey. It stood on a hill above the village.")
    assert edited.broken_at == edited.reused_tokens
    assert 0 < edited.evaluated_tokens < edited.reused_tokens
    other = turn("Something else entirely, with another beginning.")
    assert other.broken_at is not None
    assert other.reused_tokens <= 1


@pytest.mark.parametrize(
    ("changed", "span"),
    [
        (("A head of its own. ", "The lore: none. ", "Hello."), None),
        (("A head of its own. ", "The lore: a tower. ", "Hello."), 1),
        (("A head of its own. ", "The lore: none. ", "Goodbye."), 2),
        (("Another head. ", "The lore: none. ", "Hello."), 0),
        (("A head of its own. ", "", "Hello."), 2),
        (("A head of its own. ", "", "A tower. The lore: none. ", "Hello."), 2),
    ],
    ids=["nothing", "lore", "a message", "the head", "lore went", "lore came"],
)
def test_the_span_that_broke_a_prompt_is_named(
    turn: Callable[..., Done], changed: tuple[str, ...], span: int | None
) -> None:
    turn("A head of its own. ", "The lore: none. ", "Hello.")
    done = turn(*changed)
    assert done.broken_span == span
    assert (done.broken_at is None) == (span is None)


def test_what_was_reused_gives_what_reading_it_all_gives(demo: Engine, tiny: Engine) -> None:
    """Greedy, with clear winners: a cache in disagreement with the prompt would say something else."""
    facts = "The capital of France is Paris. The capital of Italy is Rome. The capital of Spain is Madrid. "
    grown, fresh = facts + "The capital of France is", facts + "The capital of Italy is"
    ask = Sampling(temperature=0)
    for prompt, answer in ((facts, None), (grown, "Paris"), (fresh, "Rome"), (grown, "Paris")):
        text = demo.generate(trust(prompt), ask, seed=1, max_tokens=2).wait().text
        if answer is not None:
            assert text.startswith(answer)
