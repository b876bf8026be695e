"""Whether this machine runs on its battery now."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

__all__ = ["on_battery"]

POWER_SUPPLIES = Path("/sys/class/power_supply")
MAINS = ("Mains", "USB")
ANSWER_SECONDS = 2.0


def on_battery() -> bool:
    """False also where there is no battery, or where the system does not say."""
    if sys.platform == "win32":
        return _windows()
    if sys.platform == "darwin":
        return _macos()
    return drains(POWER_SUPPLIES)


def drains(supplies: Path) -> bool:
    """Linux: a battery of the machine itself is discharging, and no mains is plugged in.

    A folder for each supply, with files `type`, `online`, `status` and `scope`
    (Documentation/ABI/testing/sysfs-class-power).
    """
    draining = False
    for supply in sorted(supplies.glob("*")):
        kind = _value(supply / "type")
        if kind in MAINS and _value(supply / "online") == "1":
            return False
        if kind == "Battery" and _value(supply / "scope") != "Device":
            draining = draining or _value(supply / "status") == "Discharging"
    return draining


def _value(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _macos() -> bool:
    try:
        said = subprocess.run(
            ["pmset", "-g", "batt"], capture_output=True, timeout=ANSWER_SECONDS, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b"'Battery Power'" in said


class _PowerStatus(ctypes.Structure):
    """SYSTEM_POWER_STATUS."""

    _fields_ = (
        ("ac_line", ctypes.c_ubyte),
        ("battery_flag", ctypes.c_ubyte),
        ("battery_percent", ctypes.c_ubyte),
        ("system_flag", ctypes.c_ubyte),
        ("life_time", ctypes.c_ulong),
        ("full_life_time", ctypes.c_ulong),
    )


def _windows() -> bool:
    status = _PowerStatus()
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 - elsewhere ctypes has no such name
    return bool(kernel.GetSystemPowerStatus(ctypes.byref(status))) and status.ac_line == 0
