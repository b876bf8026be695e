"""Story strings: the Handlebars subset, its white-space rules, and that parsing never fails."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets.story_string import DEEPEST, parse

VALUES = {"a": ["A"], "b": ["B"], "none": [], "many": ["x", "y"]}


def rendered(template: str) -> str:
    pieces = parse(template).render(VALUES, lambda text: [text], lambda raw: [f"<{raw}>"])
    return "".join(pieces)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("", ""),
        ("plain { } }} text", "plain { } }} text"),
        ("{{a}}{{ b }}{{none}}{{many}}", "ABxy"),
        ("{{{a}}} {{& b}}", "A B"),
        ("{{A}}", "<{{A}}>"),
        ("{{other}} {{random::x::y}} {{roll 1d6}}", "<{{other}}> <{{random::x::y}}> <{{roll 1d6}}>"),
        ("{{#if a}}yes{{/if}}{{#if none}}no{{/if}}{{#if other}}no{{/if}}", "yes"),
        ("{{#if none}}1{{else}}2{{/if}}{{#if a}}3{{else}}4{{/if}}", "23"),
        ("{{#if none}}1{{else if b}}2{{else}}3{{/if}}", "2"),
        ("{{#if none}}1{{else if other}}2{{else}}3{{/if}}", "3"),
        ("{{#if none}}1{{^}}2{{/if}}", "2"),
        ("{{#unless none}}1{{/unless}}{{#unless a}}2{{else}}3{{/unless}}", "13"),
        ("{{#if a}}{{#unless none}}{{b}}{{/unless}}{{/if}}", "B"),
        ("x{{! note }}y{{!-- {{a}} --}}z", "xyz"),
        (r"\{{a}} \\{{a}}", "{{a}} \\A"),
        # The line of a tag that stands alone on it goes with the tag.
        ("x\n{{#if a}}\nA\n{{/if}}\ny", "x\nA\ny"),
        ("x\n  {{#if a}}  \nA\n  {{/if}}  \ny", "x\nA\ny"),
        ("{{#if none}}\nA\n{{else}}\nB\n{{/if}}\n", "B\n"),
        ("x\n{{! note }}\ny", "x\ny"),
        ("{{#if a}}\n{{a}}\n{{/if}}", "A\n"),
        # A tag with something beside it keeps its line.
        ("{{#if a}}{{a}}\n{{/if}}{{#if b}}{{b}}\n{{/if}}", "A\nB\n"),
        ("{{#if a}}{{a}}\n\n{{/if}}\n{{#if b}}{{b}}\n\n{{/if}}\nend", "A\n\nB\n\nend"),
        ("{{#if none}}{{a}}\n\n{{/if}}\n{{b}}", "B"),
        ("{{#if a}}{{a}}{{/if}}\n{{b}}", "A\nB"),
        ("{{a}}\n{{b}}\n", "A\nB\n"),
        # What follows an `else if` is a block within the block, which keeps its blanks.
        ("x{{#if none}}1{{else}}\n2\n  {{/if}}\n", "x\n2\n"),
        ("x{{#if none}}1{{else if a}}\n2\n  {{/if}}\n", "x\n2\n  "),
        # `~` takes all white space on its side.
        ("x \n {{~a~}} \n y", "xAy"),
        ("x {{~#if a~}} y {{~/if~}} z", "xyz"),
        ("x {{#if none}} 1 {{~else~}} 2 {{/if}} z", "x 2  z"),
    ],
)
def test_what_a_template_renders(template: str, expected: str) -> None:
    assert rendered(template) == expected
    assert parse(template).problems == ()


@pytest.mark.parametrize(
    ("template", "expected", "problem"),
    [
        ("{{#if a}}A", "A", "{{#if a}} is never closed"),
        ("A{{/if}}B", "A{{/if}}B", "{{/if}} is not understood"),
        ("A{{else}}B", "A{{else}}B", "{{else}} is not understood"),
        ("{{#if a}}1{{/unless}}2{{/if}}", "1{{/unless}}2", "{{/unless}} is not understood"),
        ("{{#each a}}1{{/each}}", "{{#each a}}1{{/each}}", "{{#each a}} is not understood"),
        ("{{> part}}", "{{> part}}", "{{> part}} is not understood"),
        ("{{#if a}}1{{else}}2{{else}}3{{/if}}", "1", "{{else}} is not understood"),
    ],
)
def test_what_handlebars_would_not_take_stays_and_is_named(
    template: str, expected: str, problem: str
) -> None:
    assert rendered(template) == expected
    assert problem in parse(template).problems[0]


def test_blocks_may_not_lie_too_deep() -> None:
    template = "{{#if a}}" * (DEEPEST + 5) + "x" + "{{/if}}" * (DEEPEST + 5)
    assert "x" in rendered(template)
    assert "deep" in parse(template).problems[0]


def test_names_are_all_that_it_asks_for() -> None:
    assert parse("{{#if a}}{{b}}{{else if c}}{{d}}{{/if}}{{e f}}").names() == {"a", "b", "c", "d"}


TAGS = st.sampled_from(
    [
        *("{{", "}}", "{{{", "}}}", "{{a}}", "{{none}}", "{{#if a}}", "{{#unless none}}", "{{/if}}"),
        *("{{/unless}}", "{{else}}", "{{else if b}}", "{{^}}", "{{~", "~}}", "{{!", "{{!--", "--}}", "\\"),
        *("\n", "  ", "x", "{{trim}}", "{{random::{{user}}::b}}", "{{#if none}}\n", "\n{{/if}}\n"),
    ]
)


@given(st.one_of(st.text(max_size=60), st.lists(TAGS, max_size=60).map("".join)))
def test_any_text_is_parsed_and_rendered(template: str) -> None:
    assert rendered(template) == rendered(template)
    assert len(rendered(template)) <= 3 * len(template) + 10


@given(st.text(st.characters(blacklist_characters="{}\\"), max_size=80))
def test_text_without_tags_stays(template: str) -> None:
    assert rendered(template) == template


@pytest.mark.parametrize(
    "piece", ["{{", "{{!--", "{{a ", "{{#if a}}", "{{/if}}", "{{a}}", "\\", "{{!", "\n", " "]
)
def test_a_long_hostile_template_takes_no_time(piece: str) -> None:
    import time

    start = time.perf_counter()
    rendered((piece * 20_000)[:50_000] + "{{#if a}}x{{/if}}" + (piece * 20_000)[:50_000])
    assert time.perf_counter() - start < 2
