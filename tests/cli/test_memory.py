"""Memory, adapters and cache types from the command line and the settings: doctor, say, config.yaml."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from chat import models
from chat.adapters import AdapterTextError, adapter_of, adapter_text
from chat.cli.plan_check import check_plan, plan_values
from chat.engine.protocol import Adapter, Build, Device, Load
from chat.engine.remembered import remember_limit
from chat.launch import Launch
from chat.loading import PLANS_FILE, load_choices, remember_adapters, settled_adapters
from chat.settings import Folders, Settings, SettingsError

Rpchat = Callable[..., Any]
GB = 10**9
MODEL = Path("/models/nemo.gguf")


def config(home: Path, **values: Any) -> Settings:
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return Settings(Folders.find(home))


def build(*free: float) -> Build:
    """A build of llama.cpp for GPUs with so many GB free."""
    devices = [
        Device(
            name=f"CUDA{n}",
            description=f"RTX {n}",
            kind="gpu",
            memory_free=int(size * GB),
            memory_total=int(size * GB),
        )
        for n, size in enumerate(free)
    ]
    return Build(id=0, llama_cpp_python="0", system_info="", supports_gpu_offload=bool(free), devices=devices)


def test_doctor_tells_the_plan_and_its_arithmetic(rpchat: Rpchat) -> None:
    demo = models.demo_model()
    assert demo is not None
    plan = rpchat("doctor", "--json").json["plan"]
    assert plan["fits"]
    assert plan["context"] == 8192
    assert plan["main"]["weights"] == pytest.approx(demo.stat().st_size, rel=0.05)
    assert plan["main"]["cache"] == 8192 * 30 * 2 * 192 * 2  # tokens, layers, keys and values, numbers, bytes
    line = next(line for line in rpchat("doctor").out.splitlines() if f"plan for {demo.name}" in line)
    assert "weights 0.1 GB + cache 0.2 GB (f16, 8,192 tokens) + next turns 0.1 GB + buffers" in line


def test_doctor_plans_for_a_named_model_and_for_gpus(rpchat: Rpchat, home: Path) -> None:
    bad = rpchat("doctor", "--model", "nothing.gguf")
    assert bad.status == 1
    assert "no file and no model is called 'nothing.gguf'" in bad.out
    settings = Settings(Folders.find(home))
    answer = check_plan(build(1.6), settings)
    assert answer.plan is not None
    assert (answer.plan.layers, answer.plan.second) == (31, False)
    assert "all 31 layers on the GPU; given up: what is prepared in advance" in answer.checks[0].what
    values = plan_values(answer.plan)
    assert values is not None
    assert values["gpus"][0]["free"] == 1_600_000_000
    json.dumps(values)
    assert check_plan(build(), None).checks == ()


@pytest.mark.parametrize(
    ("options", "context", "cache_type", "flash"),
    [
        ([], 8_192, "f16", False),
        (["--ctx", 2_048], 2_048, "f16", False),
        (["--ctx", 4_096, "--cache-type", "q8_0"], 4_096, "q8_0", True),
        (["--cache-type", "q4_0"], 8_192, "q4_0", True),
        (["--flash-attention", "on", "--gpu-layers", "0"], 8_192, "f16", True),
    ],
)
def test_doctor_takes_the_memory_options_of_a_chat(
    rpchat: Rpchat, options: list[object], context: int, cache_type: str, flash: bool
) -> None:
    answer = rpchat("doctor", "--json", *options)
    plan = answer.json["plan"]
    assert (plan["context"], plan["cache_type"], plan["flash_attention"]) == (context, cache_type, flash)
    assert plan["fits"]
    numbers = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}[cache_type]
    assert plan["main"]["cache"] == int(30 * 2 * 192 * numbers * context)
    line = next(one["what"] for one in answer.json["checks"] if one["what"].startswith("plan for "))
    assert f"({cache_type}, {context:,} tokens)" in line


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--cache-type", "q8_0", "--flash-attention", "off"], 2, "--cache-type q8_0 needs flash attention"),
        (["--cache-type", "q9"], 2, "'q9' is not one of"),
        (["--ctx", "12"], 2, "12 is not in the range"),
        (["--gpu-layers", "all"], 2, "'all' is neither auto nor a number of layers"),
    ],
)
def test_doctor_refuses_what_a_chat_refuses(
    rpchat: Rpchat, options: list[str], status: int, said: str
) -> None:
    answer = rpchat("doctor", *options)
    assert (answer.status, answer.out) == (status, "")
    assert said in answer.err


def test_doctor_says_what_is_not_to_be_had(rpchat: Rpchat, home: Path) -> None:
    beyond = rpchat("doctor", "--ctx", 100_000)
    assert "The context is 8192 tokens, not 100000: the model was trained for no more." in beyond.out
    settings = Settings(Folders.find(home))
    assert check_plan(build(24), settings, Launch(gpu_layers="5")).plan is not None
    plan, note = check_plan(build(1.2), settings, Launch(gpu_layers="31")).checks
    assert plan.verdict == "note"
    assert plan.what.endswith("more than there is")
    assert "does not fit like that; left to itself it does: weights" in note.what
    tight = check_plan(build(1.001), settings, Launch(ctx=2_048)).plan
    assert tight is not None
    assert (tight.layers, tight.context) == (0, 2_048)


def test_doctor_knows_what_loading_has_learned(home: Path) -> None:
    settings = Settings(Folders.find(home))
    devices = build(1.9)
    whole = check_plan(devices, settings).plan
    demo = models.demo_model()
    assert whole is not None
    assert demo is not None
    asked = load_choices(Launch(), settings, demo)
    plans = settings.folders.cache / PLANS_FILE
    request = Load(id=0, path=str(demo), plans=str(plans), **asked)
    remember_limit(request, whole.machine, whole.gpu_bytes - 1)
    smaller = check_plan(devices, settings).plan
    assert smaller is not None
    assert smaller.gpu_bytes < whole.gpu_bytes


def test_doctor_says_when_settings_exclude_each_other(rpchat: Rpchat, home: Path) -> None:
    config(home, cache_type="q8_0", flash_attention=False)
    answer = rpchat("doctor")
    assert answer.status == 1
    assert "cache_type q8_0 needs flash_attention, which is off" in answer.out


@pytest.mark.parametrize(
    ("settled", "asked", "expected"),
    [
        ({}, {}, ("auto", "auto", "auto", False)),
        ({"cache_type": "q8_0", "flash_attention": True}, {}, ("auto", "q8_0", "on", False)),
        ({"cache_type": "q8_0", "gpu_layers": 7}, {"cache_type": "f16"}, (7, "f16", "auto", False)),
        ({"flash_attention": False, "full_window": True}, {}, ("auto", "auto", "off", True)),
        ({"flash_attention": "off"}, {"gpu_layers": "0"}, (0, "auto", "off", False)),
    ],
)
def test_the_command_line_outranks_what_is_settled(
    home: Path, settled: dict[str, Any], asked: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    found = load_choices(Launch(**asked), config(home, **settled), MODEL)
    keys = ("gpu_layers", "cache_type", "flash_attention", "full_window")
    assert tuple(found[key] for key in keys) == expected  # type: ignore[literal-required]


@pytest.mark.parametrize(
    ("settled", "said"),
    [
        ({"cache_type": "q9"}, "cache_type: 'q9' is none of auto, f16, q8_0, q4_0"),
        ({"flash_attention": "maybe"}, "flash_attention: 'maybe' is none of auto, on, off"),
        ({"full_window": "wide"}, "full_window: 'wide' is neither true nor false"),
        ({"gpu_layers": "many"}, "gpu_layers: 'many' is neither auto nor a number"),
        ({"gpu_layers": "1" * 5000}, "is neither auto nor a number"),
        ({"cache_type": "q4_0", "flash_attention": False}, "needs flash_attention"),
        ({"overrides": {"nemo.gguf": {"lora": "a.gguf=loud"}}}, "'loud' is no scale"),
    ],
)
def test_a_setting_that_is_none_is_one_line(home: Path, settled: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_choices(Launch(), config(home, **settled), MODEL)
    assert said in str(caught.value)


def test_adapters_are_settled_for_a_model_and_outranked_by_kind(home: Path) -> None:
    lora = {"style.gguf": 0.8, "/abs/voice.gguf": 1}
    settings = config(home, overrides={"nemo.gguf": {"lora": lora, "control_vector": "calm.gguf=-0.5"}})
    calm = Adapter(path=str(home / "calm.gguf"), scale=-0.5, kind="control")
    expected = [
        Adapter(path=str(home / "style.gguf"), scale=0.8),
        Adapter(path="/abs/voice.gguf", scale=1.0),
        calm,
    ]
    assert load_choices(Launch(), settings, MODEL)["adapters"] == expected
    asked = load_choices(Launch(lora=("/x/other.gguf=2",)), settings, MODEL)["adapters"]
    assert asked == [Adapter(path="/x/other.gguf", scale=2.0), calm]
    assert load_choices(Launch(), settings, Path("/models/another.gguf"))["adapters"] == []


def test_remembered_adapters_come_back(home: Path) -> None:
    settings = Settings(Folders.find(home))
    settings.remember_override(MODEL, format="chatml")
    chosen = [Adapter(path="/a/b=c.gguf", scale=0.25), Adapter(path="/v.gguf", scale=1, kind="control")]
    remember_adapters(settings, MODEL, chosen)
    assert settled_adapters(Settings(Folders.find(home)), MODEL) == chosen
    remember_adapters(settings, MODEL, [])
    again = Settings(Folders.find(home))
    assert settled_adapters(again, MODEL) == []
    assert again.override(MODEL).format == "chatml"


@pytest.mark.parametrize(
    ("text", "name", "scale"),
    [
        ("a.gguf", "a.gguf", 1.0),
        ("a.gguf=0.5", "a.gguf", 0.5),
        ("a=b.gguf=-2", "a=b.gguf", -2.0),
        ("a.gguf=1e-1", "a.gguf", 0.1),
    ],
)
def test_an_adapter_is_a_file_and_a_scale(tmp_path: Path, text: str, name: str, scale: float) -> None:
    found = adapter_of(text, folder=tmp_path)
    assert found == Adapter(path=str(tmp_path / name), scale=scale)
    assert adapter_of(adapter_text(found)) == found


def test_a_file_with_an_equals_sign_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a=b.gguf"
    with pytest.raises(AdapterTextError, match=r"'b\.gguf' is no scale"):
        adapter_of(str(file))
    file.touch()
    assert adapter_of(str(file)) == Adapter(path=str(file))


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--cache-type", "q8_0", "--flash-attention", "off"], 2, "--cache-type q8_0 needs flash attention"),
        (["--cache-type", "q9"], 2, "'q9' is not one of"),
        (["--lora", "x.gguf=loud"], 2, "'loud' is no scale; write FILE=0.8"),
        (["--lora", "nowhere.gguf"], 1, "nowhere.gguf cannot be used: no such file"),
        (["--control-vector", "nowhere.gguf=0.5"], 1, "nowhere.gguf cannot be used: no such file"),
    ],
)
def test_wrong_use_is_one_sentence_and_no_chat_is_left(
    rpchat: Rpchat, options: list[str], status: int, said: str
) -> None:
    answer = rpchat("say", "Hello.", *options, "--max-tokens", 4)
    assert answer.status == status
    assert said in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert rpchat("chat", "list", "--json").json == []


def test_a_context_beyond_the_models_is_told(rpchat: Rpchat, card_file: Callable[..., Path]) -> None:
    options = ("--card", card_file("Vesna", description="A ghost."), "--max-tokens", 4)
    answer = rpchat("say", "Hello.", *options, "--ctx", 100_000, "--cache-type", "q8_0")
    assert answer.status == 0
    assert "The context is 8192 tokens, not 100000: the model was trained for no more." in answer.err
