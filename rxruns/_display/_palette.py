"""The colours of pages and charts. Names are custom properties of ``page.css``."""

from __future__ import annotations

LIGHT = {
    "back": "#ffffff",
    "panel": "#f6f7f9",
    "line": "#d5dae0",
    "text": "#1b2127",
    "muted": "#545e69",
    "focus": "#0b5cad",
    "on-status": "#ffffff",
    "grid": "#e6e9ed",
    "chosen": "#e3eefb",
    "succeeded": "#0b7a5a",
    "failed": "#c22f1d",
    "running": "#0b62b8",
    "waiting": "#8a5a00",
    "canceled": "#69548f",
    "pending": "#545e69",
    "series-1": "#0b62b8",
    "series-2": "#a35300",
    "series-3": "#0b7a5a",
    "series-4": "#a3318c",
    "series-5": "#69548f",
    "series-6": "#545e69",
}
DARK = {
    "back": "#0f1317",
    "panel": "#171d23",
    "line": "#333c46",
    "text": "#e7eaee",
    "muted": "#a3adb8",
    "focus": "#7db7f5",
    "on-status": "#0c1014",
    "grid": "#232a32",
    "chosen": "#1b2f45",
    "succeeded": "#45c49a",
    "failed": "#ff8673",
    "running": "#6fb1f7",
    "waiting": "#e5ae3f",
    "canceled": "#b8a2e3",
    "pending": "#a3adb8",
    "series-1": "#6fb1f7",
    "series-2": "#e5ae3f",
    "series-3": "#45c49a",
    "series-4": "#e58ad6",
    "series-5": "#b8a2e3",
    "series-6": "#a3adb8",
}


def custom_properties(colors: dict[str, str]) -> str:
    """Return the colours as CSS declarations.

    >>> custom_properties({"back": "#ffffff"})
    '--back: #ffffff;'
    """
    return " ".join(f"--{name}: {color};" for name, color in colors.items())
