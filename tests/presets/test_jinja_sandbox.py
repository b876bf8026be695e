"""Templates that want too much or reach too far end in one line, at once; what real templates use works."""

from __future__ import annotations

import time
import tracemalloc
from datetime import datetime

import pytest

from presets.jinja_sandbox import TemplateProblem, render

CLOCK = datetime(2024, 7, 26, 18, 30)
VALUES = {"messages": [{"role": "user", "content": "hi"}], "bos_token": "<s>", "tools": None}

TEN = "{% set x = 'aaaaaaaaaa' %}"
HOSTILE = [
    "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "{% for i in range(100000) %}" + "a" * 1000 + "{% endfor %}",
    "{% for i in range(100000) %}{% if i < 0 %}x{% endif %}{% for j in 'abc' %}{% endfor %}{% endfor %}",
    "{% for i in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
    "{% macro f(n) %}{{ f(n - 1) }}{{ f(n - 1) }}{% endmacro %}{{ f(50) }}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(50) }}",
    "{{ 'a' * 10000000000 }}",
    "{{ [1] * 10000000000 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ 'a'|center(1000000000) }}",
    "{{ 'a'.ljust(1000000000) }}",
    "{{ 'a'.center(1000000000) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{0:{1}}'.format(1, 1000000000) }}",
    "{{ 'a'|indent(1000000000) * 2 }}{{ lipsum(1000000) }}",
    TEN + "{% set x = x ~ x %}" * 40,
    TEN + "{% set x = x + x %}" * 40,
    TEN + "{% set x %}{{ x }}{{ x }}{% endset %}" * 40,
    TEN + "{% set x = x|replace('a', 'aaaaaaaaaa') %}" * 40,
    TEN + "{% set x = x.replace('a', 'aaaaaaaaaa') %}" * 40,
    TEN + "{% set x = [x, x, x, x]|join(x) %}" * 40,
    TEN + "{% set x = x.join([x, x, x, x]) %}" * 40,
    "{% set x = ['a'] %}" + "{% set x = [x, x] %}" * 60 + "{{ x }}",
    "{% set x = ['a'] %}" + "{% set x = x + x %}" * 60 + "{{ x }}",
    "{% set x = ['a'] %}" + "{% set x = {'a': x, 'b': x} %}" * 60 + "{{ x|tojson }}",
    "{% set ns = namespace(a=[1]) %}" + "{% set ns.a = [ns.a, ns.a] %}" * 60 + "{{ ns.a == ns.a }}",
    "{{ range(100000)|list|join('aaaaaaaaaaaaaaaa') }}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update({'content': 'x'}) }}",
    "{{ messages|attr('append') }}{{ messages.clear() }}",
    "{{ raise_exception.__globals__['time'] }}",
    "{% include 'passwd' %}",
    "{% import 'os' as os %}",
    "{% extends 'x' %}",
    "{{ 1 / 0 }}",
    "{{ nothing.at.all }}",
    "{% for %}",
    "x" * 200_000,
]


@pytest.mark.parametrize("template", HOSTILE, ids=range(len(HOSTILE)))
def test_what_takes_too_much_or_reaches_too_far_is_refused(template: str) -> None:
    tracemalloc.start()
    started = time.perf_counter()
    try:
        with pytest.raises(TemplateProblem) as problem:
            render(template, VALUES, CLOCK)
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - started < 20
    assert "\n" not in str(problem.value)
    assert VALUES["messages"] == [{"role": "user", "content": "hi"}]


WORKING = [
    (
        "{% for m in messages %}{{ m.role }}{{ m['content'] }}{{ loop.index0 }}{{ loop.last }}{% endfor %}",
        "userhi0True",
    ),
    ("{{ messages|map(attribute='content')|join(', ') }}{{ messages[1:]|length }}", "hi0"),
    ("{{ messages|selectattr('role', 'equalto', 'user')|list|length }}", "1"),
    (
        "{% set ns = namespace(n=0) %}{% for i in range(3) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
        "3",
    ),
    ("{{ ' a '.strip() ~ 'b'|upper ~ 1 }}{{ 'a-b'.split('-')[-1] }}{{ 'x' in 'xy' }}", "aB1bTrue"),
    ("{{ '%s and %d' % ('a', 2) }}{{ '{} {}'.format('a', 'b') }}{{ '=' * 3 }}", "a and 2a b==="),
    ("{{ {'a': ['ä', 1, none]}|tojson }}{{ [1]|tojson(indent=2) }}", '{"a": ["ä", 1, null]}[\n  1\n]'),
    ("{{ strftime_now('%d %b %Y') }}", "26 Jul 2024"),
    ("{% for i in 'abc' %}{% if i == 'b' %}{% continue %}{% endif %}{{ i }}{% endfor %}", "ac"),
    ("{% generation %}x{% endgeneration %}{% filter upper %}a{{ 1 }}{% endfilter %}", "xA1"),
    ("{% macro m(a, b='c') %}{{ a }}{{ b }}{% endmacro %}{{ m('x') }}", "xc"),
    ("{% macro n() %}[{{ caller() }}]{% endmacro %}{% call n() %}y{% endcall %}", "[y]"),
    ("a\n{% if tools %}\n  b\n{% endif %}\nc\n", "a\nc"),
    ("{{ '<|user|>' }}{{ '<b>&' }}", "<|user|><b>&"),
    ("{{ none }}{{ undefined_name }}{{ x is defined }}{{ messages is iterable }}", "NoneFalseTrue"),
    ("{{ 'b'|indent(2, true) }}{{ 'abc'[::-1] }}{{ 7 // 2 }}{{ 7 % 4 }}{{ -3|abs }}", "  bcba333"),
]


@pytest.mark.parametrize(("template", "text"), WORKING)
def test_what_templates_use(template: str, text: str) -> None:
    assert render(template, VALUES, CLOCK) == text


def test_a_template_says_why_it_refuses() -> None:
    with pytest.raises(TemplateProblem, match="it says: no system role"):
        render("{{ raise_exception('no\nsystem role') }}", VALUES, CLOCK)
    with pytest.raises(TemplateProblem, match="line 2: "):
        render("a\n{% for %}", VALUES, CLOCK)
    with pytest.raises(TemplateProblem, match="it uses the filter 'pprint'"):
        render("{{ messages|pprint }}", VALUES, CLOCK)
