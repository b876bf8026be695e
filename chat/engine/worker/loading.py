"""Bringing a model into memory: the plan, what is made smaller when it fails all the same, and how the model
is described."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from chat.engine.machine import available_threads, writing_threads
from chat.engine.needs import BATCH, Needs, needs_of
from chat.engine.plan import Machine, Plan, Wanted
from chat.engine.planning import PlanError, beyond_training, lesser_plan, make_plan
from chat.engine.protocol import Adapter, Load, Loaded
from chat.engine.remembered import known_limit, remember_limit
from chat.engine.worker import log, offload
from chat.engine.worker.adapters import AdapterError, Adapters
from chat.engine.worker.causes import LoadError, cannot_write, check_file, load_error, refused_cache
from chat.engine.worker.llama import Context, Model
from chat.engine.worker.tokens import Vocabulary
from chat.gguf import GGUFError, GGUFHeader, read_header

__all__ = ["LoadError", "LoadedModel", "load"]

Progress = Callable[[float, Plan], None]


@dataclass(slots=True)
class LoadedModel:
    """A model that stands ready, and how it was described to the client."""

    model: Model
    vocabulary: Vocabulary
    context: Context | None
    described: Loaded
    adapters: Adapters
    make_context: Callable[[], Context] = field(repr=False)

    def adapt(self, wanted: Sequence[Adapter]) -> None:
        """Puts these adapters in force; what is in the cache is void then.

        A new LoRA needs a new context: how many nodes its graphs may have was counted without it. Raises
        AdapterError, and then nothing has changed; MemoryError, and then there is no context.
        """
        if self.context is None:
            raise AdapterError("Only a model that is loaded as a whole can have adapters.")
        if self.adapters.load(wanted):
            self.context.close()
            self.context = None
            self.context = self.make_context()
        self.adapters.apply(self.context)
        self.described = self.described.model_copy(update={"adapters": self.adapters.in_force})

    def close(self) -> None:
        """Frees the memory."""
        if self.context is not None:
            self.context.close()
        self.model.close()


def load(request: Load, progress: Progress, cancelled: Callable[[], bool]) -> LoadedModel:
    """Loads a model and makes its context. `progress` is told a fraction and the plan.

    Raises LoadError with code `load` (the file), `memory` or `request` (wishes that exclude each other).
    """
    return _Loading(request, progress, cancelled).run()


class _Loading:
    def __init__(self, request: Load, progress: Progress, cancelled: Callable[[], bool]) -> None:
        self._request = request
        self._progress = progress
        self._cancelled = cancelled
        self._path = Path(request.path)
        self._notes: list[str] = []
        self._started = time.monotonic()
        self._headers: list[GGUFHeader] = []

    def run(self) -> LoadedModel:
        check_file(self._path)
        log.forget()
        self._headers = _headers(self._path)
        needs = _needs(self._headers)
        machine, wanted = self._conditions(needs)
        plan = _plan(needs, machine, wanted)
        self._progress(0.0, plan)
        model = self._open_model(plan)
        try:
            vocabulary = Vocabulary(model.vocab)
            adapters = Adapters(model, self._headers)
            context = None
            if not self._request.vocabulary_only:
                self._refuse_other_kinds(model)
                adapters.load(self._request.adapters)
                context, plan = self._open_context(model, needs, wanted, plan)
                if self._request.adapters:
                    adapters.apply(context)
        except BaseException:
            model.close()
            raise
        if context is not None and self._request.gpu_limit is not None:
            remember_limit(self._request, machine, plan.gpu_bytes)
        described = self._describe(model, vocabulary, context, plan, adapters)
        return LoadedModel(
            model, vocabulary, context, described, adapters, lambda: self._context(model, plan)
        )

    def _conditions(self, needs: Needs) -> tuple[Machine, Wanted]:
        request = self._request
        machine = Machine(None) if request.vocabulary_only else offload.machine()
        limit = request.gpu_limit
        if limit is None and machine.gpus and request.gpu_layers == "auto":
            limit = known_limit(request, machine)
        wanted = Wanted(
            context=request.context,
            gpu_layers=None if request.gpu_layers == "auto" else request.gpu_layers,
            cache_type=request.cache_type,
            flash_attention=request.flash_attention,
            full_window=request.full_window,
            gpu_limit=limit,
        )
        beyond = beyond_training(needs, wanted)
        self._notes += [beyond] if beyond else []
        return machine, wanted

    def _open_model(self, plan: Plan) -> Model:
        request = self._request

        def go_on(fraction: float) -> bool:
            self._progress(fraction, plan)
            return not self._cancelled()

        if self._headers and not request.vocabulary_only:  # told before gigabytes are read
            refused = cannot_write(self._path.name, self._headers[0].architecture)
            if refused is not None:
                raise refused
        try:
            return Model(str(self._path), plan.layers, request.vocabulary_only, go_on, plan.experts_aside)
        except OSError as error:
            if self._cancelled():
                raise LoadError("load", "Loading was cancelled.") from error
            raise load_error(self._path) from error

    def _refuse_other_kinds(self, model: Model) -> None:
        kind = model.metadata("general.architecture")
        refused = cannot_write(self._path.name, kind, encodes=model.encodes, diffuses=model.diffuses)
        if refused is not None:
            raise refused

    def _open_context(self, model: Model, needs: Needs, wanted: Wanted, plan: Plan) -> tuple[Context, Plan]:
        """The context of the plan, or the largest that can be had."""
        while True:
            try:
                context = self._context(model, plan)
                break
            except MemoryError as error:
                log.write(f"refused: {plan}")
                if refused_cache():
                    log.forget()
                    wanted = self._unquantized(wanted, error)
                plan = self._after_refusal(needs, wanted, plan, error)
        if not context.has_memory:
            context.close()
            raise LoadError("load", f"{self._path.name} is an encoder, which cannot write text.")
        return context, plan

    def _unquantized(self, wanted: Wanted, error: MemoryError) -> Wanted:
        """The cache stays f16 from here on. Raises LoadError where another one was asked for."""
        if wanted.cache_type != "auto":
            message = f"This model cannot have a {wanted.cache_type} cache; set the cache type to f16."
            raise LoadError("request", message) from error
        return replace(wanted, quantized=False)

    def _after_refusal(self, needs: Needs, wanted: Wanted, plan: Plan, error: MemoryError) -> Plan:
        """The next plan to try, with the layers where they are. Raises LoadError when there is none."""
        if plan.layers and self._request.gpu_layers == "auto":  # fewer layers cost less than a shorter memory
            raise LoadError("memory", f"{self._path.name} does not fit on the GPU.") from error
        lesser = lesser_plan(needs, wanted, plan)
        if lesser is None:
            message = f"There is not memory enough for even {plan.context} tokens of context."
            raise LoadError("memory", message) from error
        return lesser

    def _context(self, model: Model, plan: Plan) -> Context:
        """Raises MemoryError when llama.cpp makes none, or cannot read a batch with it on a GPU."""
        request = self._request
        context = Context(
            model,
            plan.context,
            request.threads or writing_threads(),
            BATCH,
            plan.sequences,
            plan.cells,
            threads_reading=request.threads or available_threads(),
            cache_type=plan.cache_type,
            flash_attention=request.flash_attention if plan.flash else "off",
            full_window=request.full_window,
        )
        context.checkpoint_budget = plan.checkpoint_budget or context.checkpoint_budget
        # Flash attention splits its sums among the threads; on a GPU ours do little.
        context.writing_threads.adapts = not (request.threads or plan.layers or plan.flash)
        if plan.layers and not _reads(context):
            context.close()
            raise MemoryError("the first batch was refused")
        return context

    def _describe(
        self,
        model: Model,
        vocabulary: Vocabulary,
        context: Context | None,
        plan: Plan,
        adapters: Adapters,
    ) -> Loaded:
        request, names = self._request, [gpu.name for gpu in plan.machine.gpus]
        if context is not None:
            self._notes += _notes(plan)
        return Loaded(
            id=request.id,
            path=request.path,
            context=context.size if context is not None else 0,
            context_trained=model.context_trained,
            layers=model.layers,
            gpu_layers=plan.layers,
            device=", ".join(names) if plan.layers else "CPU",
            vocabulary=vocabulary.size,
            threads=request.threads or writing_threads(),
            bos=vocabulary.text(vocabulary.bos).decode("utf-8", "replace") if vocabulary.bos >= 0 else "",
            eos=vocabulary.text(vocabulary.eos).decode("utf-8", "replace") if vocabulary.eos >= 0 else "",
            seconds=time.monotonic() - self._started,
            notes=self._notes,
            cells=context.cells if context is not None else 0,
            cache_type=plan.cache_type,
            plan=str(plan) if context is not None else "",
            can_shift=context is not None and context.can_shift,
            checkpoints=context is not None and context.checkpointed,
            adapters=adapters.in_force,
        )


def _headers(path: Path) -> list[GGUFHeader]:
    """Of all parts of the model; none where a header cannot be read: llama.cpp then says why."""
    parts = re.fullmatch(r"(.*-)\d{5}(-of-\d{5}\.gguf)", path.name)
    found = sorted(path.parent.glob(f"{_literal(parts[1])}?????{_literal(parts[2])}")) if parts else [path]
    try:
        return [read_header(file) for file in found]
    except GGUFError:
        return []


def _literal(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)


def _needs(headers: list[GGUFHeader]) -> Needs:
    parts = [needs_of(header) for header in headers] or [Needs(weights=())]
    needs = parts[0]
    for part in parts[1:]:
        needs = needs.with_part(part)
    return needs


def _plan(needs: Needs, machine: Machine, wanted: Wanted) -> Plan:
    try:
        return make_plan(needs, machine, wanted)
    except PlanError as error:
        raise LoadError("request", str(error)) from error


def _reads(context: Context) -> bool:
    """Whether a whole batch can be read: some backends take the last of their memory only then."""
    status = context.decode([0] * min(context.batch_size, context.size), 0)
    context.clear(0)
    return status == 0


def _notes(plan: Plan) -> list[str]:
    """What was given up for memory, for people."""
    notes = []
    for what in plan.given_up:
        if what.startswith("context"):
            notes.append(f"The context is {plan.context} tokens: memory holds no more.")
        elif what.startswith("the f16"):
            notes.append(f"The cache is {plan.cache_type}, not f16: memory is short.")
        else:
            notes.append("Memory is short: when the context is full, turns are read as they are needed.")
    return notes
