"""`rpchat model`: GGUF files, the format that fits each, and making them from other files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cards.filenames import expanded
from chat.cli.printing import warn, write, write_json, write_table
from chat.cli.progress import progress_line

if TYPE_CHECKING:
    from chat.cli.fitting import Fitting
    from chat.models import ModelFile
    from chat.settings import Settings
    from presets.library import PresetLibrary


@click.group()
def command() -> None:
    """Models: GGUF files, the format that fits each, and making them from other files."""


def _at_hand() -> tuple[Settings, PresetLibrary]:
    from chat.settings import Folders, Settings
    from presets.library import PresetLibrary

    folders = Folders.find()
    return Settings(folders), PresetLibrary(folders.presets)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """Every model that is known: size, quantization, context, whether it fits, the format chosen and why.

    That is what lies in the models folder or was added, and what LM Studio, text-generation-webui, GPT4All,
    the Hugging Face cache, Ollama and KoboldCpp's settings have. Only headers are read.
    """
    from chat.cli.fitting import Fitting
    from chat.models import how_to_get_a_model, known_models

    settings, presets = _at_hand()
    models = known_models(settings)
    if not models and not as_json:
        write("\n".join(how_to_get_a_model(settings)))
        return
    fitting = Fitting(settings)
    described = [_values(file, settings, presets, fitting) for file in models]
    if as_json:
        write_json(described)
        return
    write_table([_row(file, values) for file, values in zip(models, described, strict=True)])


def _row(file: ModelFile, values: dict[str, Any]) -> tuple[str, ...]:
    mark = "*" if values["last"] else " "
    label = f"{file.label} ({file.program})" if file.program else file.label
    if file.problem:
        return (mark, label, size_text(file.size), "", "", "", "", file.problem)
    context = f"{file.context_trained:,}" if file.context_trained else "?"
    return (
        mark,
        label,
        size_text(file.size),
        file.quantization or "?",
        context,
        values["format"],
        values["memory"],
        values["why"],
    )


def _values(file: ModelFile, settings: Settings, presets: PresetLibrary, fitting: Fitting) -> dict[str, Any]:
    from chat.models import settled_match

    found, notices = settled_match(file, settings.override(file.path), presets)
    for notice in notices:
        warn(notice)
    usable = file.problem is None
    fit = fitting.of(file)
    return {
        "path": str(file.path),
        "label": file.label,
        "name": file.name,
        "size": file.size,
        "parts": [str(part) for part in file.parts],
        "quantization": file.quantization or None,
        "context": file.context_trained,
        "architecture": file.architecture or None,
        "layers": file.layers,
        "format": found.format if usable else None,
        "sampling": found.sampling if usable else None,
        "why": found.why if usable else None,
        "certain": found.certain if usable else None,
        "alternatives": list(found.alternatives) if usable else [],
        "fits": fit.verdict if usable else None,
        "fits_context": fit.context if usable and fit.verdict in ("yes", "shorter") else None,
        "memory_needed": fit.needed if usable else None,
        "memory_free": fit.free,
        "gpu_layers": fit.plan.layers if usable else None,
        "memory": str(fit) if usable else None,
        "plan": str(fit.plan) if usable else None,
        "program": file.program or None,
        "demo": file.demo,
        "last": file.path == settings.last_model,
        "problem": file.problem,
    }


def size_text(size: int) -> str:
    """Bytes as people read them: `98 MB`, `7.3 GB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


@command.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
def add(paths: tuple[Path, ...]) -> None:
    """Remember GGUF files, or folders of them, where they lie; nothing is copied.

    A .kcpps file of KoboldCpp adds the models that it names.
    """
    from chat.models import ModelError, find_models

    settings, _ = _at_hand()
    for path in paths:
        path = expanded(path).absolute()
        files = find_models([path])
        if not path.is_dir():
            bad = next((file for file in files if file.problem), None)
            if bad is not None:
                raise ModelError(f"{bad.path}: {bad.problem}")
        if not files:
            where = "in this folder or below it" if path.is_dir() else "named in this file"
            raise ModelError(f"{path}: no .gguf file {where}")
        known = "" if settings.add_model_place(path) else " (was known)"
        write(f"{path}: {len(files)} model{'' if len(files) == 1 else 's'}{known}")


@command.command()
@click.argument("ref")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(ref: str, as_json: bool) -> None:
    """One model: what its header says, the format chosen for it, and whether it fits this machine."""
    from chat.cli.fitting import Fitting
    from chat.models import ModelError, find_model

    settings, presets = _at_hand()
    file = find_model(ref, settings)
    values = _values(file, settings, presets, Fitting(settings))
    if as_json:
        write_json(values)
    else:
        shown = {**values, "size": size_text(file.size), "alternatives": ", ".join(values["alternatives"])}
        shown["parts"] = len(file.parts) or None
        hidden = (
            "demo",
            "last",
            "problem",
            "certain",
            "fits",
            "fits_context",
            "gpu_layers",
            "memory_needed",
            "memory_free",
        )
        write_table([(k, str(v)) for k, v in shown.items() if k not in hidden and v not in (None, "")])
    if file.problem:
        raise ModelError(f"{file.path}: {file.problem}")


@command.command()
@click.argument("repository", metavar="OWNER/REPO")
@click.argument("file", required=False)
@click.option("--force", is_flag=True, help="Replace another file of that name.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def pull(repository: str, file: str | None, force: bool, as_json: bool) -> None:
    """Fetch a model from the Hugging Face Hub into the models folder.

    The only verb that uses a network; it asks huggingface.co, or the hub that HF_ENDPOINT names. FILE is a
    file's name or a part of it, such as Q4_K_M. A download that was broken off goes on where it stopped, and
    every file is checked against its SHA-256. Needs the extra: pip install 'rpchat[hub]'.
    """
    from chat.cli.fitting import Fitting
    from chat.models import ModelError, describe
    from chat.models.pulling import check, choose, endpoint, fetch, look_up

    settings, presets = _at_hand()
    check(repository)
    warn(f"asking {endpoint()}; this is the only verb that uses a network")
    found = look_up(repository)
    try:
        chosen = choose(found, file)
    except ModelError:
        if not as_json:
            write_table([(f.name, size_text(f.size)) for f in found.files])
        raise
    paths = []
    for part in chosen:
        with progress_line(part.name) as line:
            paths.append(fetch(found, part, settings.folders.models, force=force, report=line.size))
    model = describe(paths[0])
    if as_json:
        write_json(_values(model, settings, presets, Fitting(settings)))
    else:
        write(f"{model.path}: {size_text(model.size)}, checked; {Fitting(settings).of(model)}")
    if model.problem:
        raise ModelError(f"{model.path}: {model.problem}")


@command.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.argument("kind", metavar="TYPE")
@click.option("--requantize", is_flag=True, help="Take a model that is quantized already; it loses twice.")
@click.option("--force", is_flag=True, help="Replace OUT.")
def quantize(source: Path, out: Path, kind: str, requantize: bool, force: bool) -> None:
    """Write a smaller copy of a GGUF model with llama.cpp's own function.

    TYPE is q8_0, q6_k, q5_k_m, q4_k_m, q4_0 ... in any case; IN is the model as f16, bf16 or f32.
    """
    from chat.models.quantizing import file_type, quantize

    settings, _ = _at_hand()
    number = file_type(kind)
    with progress_line(f"{source.name} to {kind.lower()}, tensors") as line:
        before, after = quantize(
            expanded(source).absolute(),
            expanded(out).absolute(),
            number,
            log_file=settings.folders.worker_log,
            requantize=requantize,
            force=force,
            progress=line.count,
        )
    sizes = f"{size_text(before.size)} to {size_text(after.size)}"
    write(f"{after.path}: {after.quantization}, {sizes}")


@command.command()
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@click.argument("out", metavar="OUT.gguf", type=click.Path(path_type=Path))
@click.option("--llama", type=click.IntRange(1, 2), help="Which Llama it is, where its name does not say.")
@click.option("--ctx", type=click.IntRange(min=1), help="Context in tokens that it was trained for.")
@click.option("--force", is_flag=True, help="Replace OUT.gguf.")
def convert(source: Path, out: Path, llama: int | None, ctx: int | None, force: bool) -> None:
    """Write a GGUF of a Llama model from mid 2023: a .ggmlv3.*.bin file of type f32, f16, q8_0 or q4_0.

    Needs the extra: pip install 'rpchat[convert]'.
    """
    from chat.models.converting import convert

    with progress_line(f"{source.name}, tensors") as line:
        done = convert(
            expanded(source).absolute(),
            expanded(out).absolute(),
            llama=llama,
            context=ctx,
            force=force,
            progress=line.count,
        )
    what = f"{done.tensors} tensors, {done.context:,} tokens of context"
    write(f"{done.path}: {what}, as Llama {done.llama} ({done.why})")
