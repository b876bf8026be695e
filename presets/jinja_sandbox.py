"""Rendering a chat template that came with a model, which anybody may have written.

Jinja's own sandbox keeps it from Python's insides and from changing what it is given. On top of that nothing
it does may take long or fill the memory: every value that it makes is weighed, every turn of a loop, call and
output counts against one allowance, and the clock is looked at on the way. Templates of real models stay far
below all limits.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError, nodes, pass_context
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

__all__ = ["LARGEST_TEMPLATE", "TemplateProblem", "TemplateTooCostly", "render"]

LARGEST_TEMPLATE = 128 * 1024
"""Characters; those of real models reach some 20 000."""
LARGEST_TEXT = 1_000_000
"""Characters of one value, and of all that is written."""
LARGEST_LIST = 50_000
"""Items of one value, those inside of items included."""
MOST_STEPS = 200_000
"""Turns of loops, calls and outputs."""
SECONDS = 3.0

# fmt: off
_FILTERS = frozenset({
    "abs", "bool", "capitalize", "count", "d", "default", "dictsort", "first", "float", "groupby",
    "int", "items", "join", "last", "length", "list", "lower", "map", "max", "min", "reject",
    "rejectattr", "replace", "reverse", "round", "safe", "select", "selectattr", "sort", "string",
    "sum", "title", "tojson", "trim", "unique", "upper", "e", "escape", "attr", "indent",
})
_TEXT_METHODS = frozenset({
    "capitalize", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdigit", "islower",
    "isnumeric", "isspace", "isupper", "join", "lower", "lstrip", "removeprefix", "removesuffix",
    "replace", "rfind", "rindex", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip",
    "swapcase", "title", "partition", "rpartition", "upper",
})
# fmt: on


class TemplateProblem(Exception):
    """A template that cannot be read, refuses what it is given, or takes too much; one line."""


class TemplateTooCostly(TemplateProblem):
    """It takes too much, and would whatever it is given."""


class _Allowance:
    """What one rendering may still use."""

    def __init__(self) -> None:
        self.steps = MOST_STEPS
        self.characters = LARGEST_TEXT
        self.deadline = time.monotonic() + SECONDS

    def step(self) -> None:
        self.steps -= 1
        if self.steps < 0 or (self.steps % 64 == 0 and time.monotonic() > self.deadline):
            raise TemplateTooCostly("it takes too long")

    def write(self, text: str) -> str:
        self.step()
        self.characters -= len(text)
        if self.characters < 0:
            raise TemplateTooCostly("it writes too much")
        return text


def _weighed(value: Any) -> Any:
    """`value`, unless it is too large to go on with."""
    if isinstance(value, str):
        if len(value) > LARGEST_TEXT:
            raise TemplateTooCostly("it makes too long a text")
    elif isinstance(value, int):
        if value.bit_length() > 64:
            raise TemplateTooCostly("it makes too large a number")
    elif isinstance(value, (list, tuple, dict, set)):
        left, waiting = LARGEST_LIST, [value]
        while waiting:
            held = waiting.pop()
            left -= len(held) + 1
            if left < 0:
                raise TemplateTooCostly("it makes too long a list")
            items = [*held.keys(), *held.values()] if isinstance(held, dict) else held
            waiting.extend(item for item in items if isinstance(item, (list, tuple, dict, set)))
    return value


def _may_be_long(characters: int) -> None:
    """Before a text is made: whether it may become that long."""
    if characters > LARGEST_TEXT:
        raise TemplateTooCostly("it makes too long a text")


def _allowance(context: Context) -> _Allowance:
    held = context.parent["_allowance"]
    assert isinstance(held, _Allowance)
    return held


@pass_context
def _filter_each(context: Context, items: Iterable[Any]) -> Iterator[Any]:
    allowance = _allowance(context)
    for item in items:
        allowance.step()
        yield item


@pass_context
def _filter_out(context: Context, value: Any) -> str:
    """What an output writes. Python's own way to write a list has no bounds."""
    if not isinstance(value, (str, int, float, Undefined)) and value is not None:
        value = _plain_json(_weighed(value))
    return _allowance(context).write(str(value))


@pass_context
def _filter_weigh(context: Context, value: Any) -> Any:
    _allowance(context).step()
    return _weighed(value)


@pass_context
def _filter_glue(context: Context, values: Sequence[Any]) -> str:
    _allowance(context).step()
    texts = [value if isinstance(value, str) else str(_scalar(value)) for value in values]
    _may_be_long(sum(map(len, texts)))
    return "".join(texts)


def _scalar(value: Any) -> Any:
    if isinstance(value, (list, tuple, dict, set)):
        return _plain_json(_weighed(value))
    return value


def _plain_json(value: Any, indent: int | None = None, **_unused: Any) -> str:
    """`tojson` as templates for Hugging Face know it: not escaped for HTML, characters as they are."""
    indent = min(indent, 8) if isinstance(indent, int) else None
    return json.dumps(_weighed(value), ensure_ascii=False, indent=indent, default=str)


def _joined(values: Iterable[Any], separator: str = "", attribute: Any = None) -> str:
    if attribute is not None:
        raise TemplateProblem("it uses join with an attribute")
    texts = [str(_scalar(value)) for value, _ in zip(values, range(LARGEST_LIST), strict=False)]
    _may_be_long(sum(map(len, texts)) + len(str(separator)) * len(texts))
    return str(separator).join(texts)


def _replaced(text: Any, old: Any, new: Any, count: Any = None) -> str:
    whole, found, instead = (str(_scalar(value)) for value in (text, old, new))
    _may_be_long(len(whole) + whole.count(found) * len(instead))
    return whole.replace(found, instead, count if isinstance(count, int) else -1)


def _indented(text: Any, width: Any = 4, first: bool = False, blank: bool = False) -> str:
    """Jinja's `indent`, for a width that is one."""
    gap = width if isinstance(width, str) else " " * int(width if 0 <= int(width) <= 64 else 4)
    lines = str(_scalar(text)).split("\n")
    _may_be_long(len(lines) * len(gap))
    out = [gap + line if (index or first) and (line or blank) else line for index, line in enumerate(lines)]
    return "\n".join(out)


class _Guard(NodeTransformer):
    """Puts the counting and weighing into a template that has been parsed."""

    def __init__(self, filters: frozenset[str]) -> None:
        self._filters = filters

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _through("_each", node.iter)
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        self.generic_visit(node)
        node.nodes = [_through("_out", _text(child)) for child in node.nodes if isinstance(child, nodes.Expr)]
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _through("_glue", nodes.List(list(node.nodes), lineno=node.lineno))

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        if node.name not in self._filters:
            raise TemplateProblem(f"it uses the filter {node.name!r}, which is not known here")
        self.generic_visit(node)
        # A block's filter (`{% filter trim %}`) has no node: what it filters was written, and so counted.
        return _through("_weigh", node) if node.node is not None else node

    def visit_List(self, node: nodes.List) -> nodes.Node:
        self.generic_visit(node)
        return _through("_weigh", node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        self.generic_visit(node)
        return _through("_weigh", node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return _through("_weigh", node) if node.ctx == "load" else node

    def visit_Include(self, node: nodes.Node) -> nodes.Node:
        raise TemplateProblem("it asks for other templates")

    visit_Import = visit_FromImport = visit_Extends = visit_Include


def _through(name: str, node: Any) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _text(child: nodes.Expr) -> nodes.Expr:
    """Literal text as an expression, which is written when its turn comes and not before."""
    return nodes.Const(child.data, lineno=child.lineno) if isinstance(child, nodes.TemplateData) else child


class _Generation(Extension):
    """`{% generation %}`: how some templates mark what a model is trained on; it changes nothing."""

    tags = {"generation"}  # noqa: RUF012 (Jinja reads it from the class)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "**", "%"])

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            extensions=[loopcontrols, _Generation],
        )
        self.globals = {key: self.globals[key] for key in ("range", "dict", "namespace")}
        self.globals["raise_exception"] = _raise
        own: dict[str, Callable[..., Any]] = {
            "tojson": _plain_json,
            "join": _joined,
            "replace": _replaced,
            "indent": _indented,
            "string": lambda value: str(_scalar(value)),
            "safe": lambda value: value,
        }
        kept = {name: self.filters[name] for name in _FILTERS if name in self.filters}
        self.filters = {**kept, **own}
        self.known = frozenset(self.filters)
        guards = {"_each": _filter_each, "_out": _filter_out, "_weigh": _filter_weigh, "_glue": _filter_glue}
        self.filters.update(guards)

    def guarded(self, source: str) -> Any:
        tree = self.parse(source)
        _Guard(self.known).visit(tree)
        # A tree is taken as well as a text, whatever the signature says.
        return self.from_string(tree)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str):
            return attr in _TEXT_METHODS
        return bool(super().is_safe_attribute(obj, attr, value))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        _allowance(context).step()
        if operator == "**":
            raise TemplateProblem("it uses **, which may grow without end")
        if operator == "*":
            many = [value for value in (left, right) if isinstance(value, (str, list, tuple))]
            times = [value for value in (left, right) if isinstance(value, int)]
            _may_be_long(max(map(len, many), default=0) * max(times, default=0))
        if operator == "%" and isinstance(left, str):
            _plain_form(left, r"%[sd%]", "%", right)
        made = super().call_binop(context, operator, left, right)
        if isinstance(made, list) and len(made) <= LARGEST_LIST:
            # What is in it was weighed when it was made; templates add message after message to a list.
            return made
        return _weighed(made)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        made = super().wrap_str_format(value)
        if made is None:
            return None

        def plain(*args: Any, **kwargs: Any) -> str:
            _plain_form(value.__self__, r"\{\w*\}", "{", (*args, *kwargs.values()))
            return made(*args, **kwargs)

        return plain

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        _allowance(__context).step()
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if isinstance(owner, str) and name == "replace":
            return _replaced(owner, *args[:3])
        if isinstance(owner, str) and name == "join":
            return _joined(args[0] if args else (), owner)
        return _weighed(super().call(__context, __obj, *args, **kwargs))


def _plain_form(form: str, field: str, sign: str, values: Any) -> None:
    """Refuses a format that names widths, and one that would repeat long values."""
    if sign in re.sub(field, "", form):
        raise TemplateProblem("it formats text in a way that may grow without end")
    parts = values if isinstance(values, tuple) else (values,)
    _may_be_long(len(form) + form.count(sign) * max((len(str(_scalar(part))) for part in parts), default=0))


def _raise(message: Any = "") -> None:
    raise TemplateProblem(f"it says: {' '.join(str(message).split())[:200]}")


@lru_cache(maxsize=1)
def _environment() -> _Environment:
    return _Environment()


@lru_cache(maxsize=8)
def _compiled(source: str) -> Any:
    if len(source) > LARGEST_TEMPLATE:
        raise TemplateProblem(f"it is {len(source)} characters long")
    try:
        return _environment().guarded(source)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise TemplateProblem(f"line {line}: {_one_line(error)}" if line else _one_line(error)) from error
    except (RecursionError, MemoryError, SyntaxError, ValueError, TypeError) as error:
        raise TemplateProblem(f"it cannot be read ({type(error).__name__})") from error


def render(source: str, values: Mapping[str, Any], clock: datetime) -> str:
    """What a template writes. `values` are its variables, `clock` the time that it may tell.

    Raises TemplateProblem, whatever the template does.
    """
    template = _compiled(source)

    def strftime_now(form: Any = "%d %b %Y") -> str:
        return clock.strftime(str(form)[:100])

    given = {**values, "strftime_now": strftime_now, "_allowance": _Allowance()}
    try:
        return str(template.render(given))
    except TemplateProblem:
        raise
    except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise TemplateProblem(_one_line(error)) from error
    except (RecursionError, MemoryError) as error:
        raise TemplateTooCostly("it takes too much") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
