"""The colours of pages and charts. Names are custom properties of ``page.css``."""

from __future__ import annotations

_PALETTE = {  # light, dark
    "back": ("#ffffff", "#0f1317"),
    "panel": ("#f6f7f9", "#171d23"),
    "line": ("#d5dae0", "#333c46"),
    "text": ("#1b2127", "#e7eaee"),
    "muted": ("#545e69", "#a3adb8"),
    "focus": ("#0b5cad", "#7db7f5"),
    "on-status": ("#ffffff", "#0c1014"),
    "grid": ("#e6e9ed", "#232a32"),
    "chosen": ("#e3eefb", "#1b2f45"),
    "succeeded": ("#0b7a5a", "#45c49a"),
    "failed": ("#c22f1d", "#ff8673"),
    "running": ("#0b62b8", "#6fb1f7"),
    "waiting": ("#8a5a00", "#e5ae3f"),
    "canceled": ("#69548f", "#b8a2e3"),
    "pending": ("#545e69", "#a3adb8"),
    "series-1": ("#0b62b8", "#6fb1f7"),
    "series-2": ("#a35300", "#e5ae3f"),
    "series-3": ("#0b7a5a", "#45c49a"),
    "series-4": ("#a3318c", "#e58ad6"),
    "series-5": ("#69548f", "#b8a2e3"),
    "series-6": ("#545e69", "#a3adb8"),
}
LIGHT = {name: light for name, (light, _) in _PALETTE.items()}
DARK = {name: dark for name, (_, dark) in _PALETTE.items()}


def custom_properties(colors: dict[str, str]) -> str:
    """Return the colours as CSS declarations.

    >>> custom_properties({"back": "#ffffff"})
    '--back: #ffffff;'
    """
    return " ".join(f"--{name}: {color};" for name, color in colors.items())
