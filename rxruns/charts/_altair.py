"""The parts that all charts share: colours, axes, and rendering without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rxruns._display._palette import LIGHT
from rxruns._display._text import MARKS, status_label

try:
    import altair
    import vl_convert
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"rxruns.charts needs {error.name}: pip install 'rxruns[charts]'", name=error.name
    ) from error

alt = altair
WIDTH = 720
"""Width of the plot in pixels."""

TEXT, MUTED, GRID, BACK = (LIGHT[name] for name in ("text", "muted", "grid", "back"))
FONT = "DejaVu Sans, Segoe UI, Helvetica, Arial, sans-serif"
SERIES = [LIGHT[f"series-{number}"] for number in range(1, 7)]
"""For models. The last one is grey, for all others. Neighbours differ in lightness too."""

TAIL = 1.02
"""Length of a time axis as a multiple of the run's, so that events at its end are visible."""

_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400]
_CLOCK = (
    "datum.value < 60 ? format(datum.value, '~g') + ' s' : "
    "(datum.value < 3600 ? format(floor(datum.value / 60), 'd') : "
    "format(floor(datum.value / 3600), 'd') + ':' + format(floor(datum.value / 60) % 60, '02d'))"
    " + ':' + format(floor(datum.value) % 60, '02d')"
)


class _ShowsItself:
    """A chart that a notebook shows as SVG, unless another of Altair's renderers is enabled.

    Altair's default renderer loads its script from the network.
    """

    def _repr_mimebundle_(self, *arguments: Any, **options: Any) -> Any:
        if alt.renderers.active == "default":
            return {"image/svg+xml": svg(self)}
        return super()._repr_mimebundle_(*arguments, **options)  # type: ignore[misc]


class Layered(_ShowsItself, alt.LayerChart):
    """Charts over each other."""


class Stacked(_ShowsItself, alt.VConcatChart):
    """Charts below each other."""


def over(rows: Sequence[Mapping[str, Any]]) -> alt.Chart:
    """Return a chart of rows, as a plain dict: others are limited to 5,000 rows, and checked, 1 ms each."""
    return alt.Chart({"values": rows})


def empty(title: str, reason: str) -> Layered:
    """Return a chart without data, with the reason in its place."""
    text = over([{}]).mark_text(color=MUTED, fontSize=13).encode(text=alt.value(reason))
    return Layered(layer=[text], title=alt.TitleParams(title, subtitle=reason), width=WIDTH, height=40)


def svg(chart: Any) -> str:
    """Return the chart as SVG."""
    return vl_convert.vegalite_to_svg(chart.to_json(), vl_version=_version())


def png(chart: Any, scale: float) -> bytes:
    """Return the chart as PNG, with ``scale`` pixels for each of the chart's."""
    return vl_convert.vegalite_to_png(chart.to_json(), vl_version=_version(), scale=scale)


def _version() -> str:
    """Return the version of Vega-Lite, as the converter names it."""
    return ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])


def plain(chart: Any) -> Any:
    """Return the chart with the theme: fonts and colours of axes."""
    return (
        chart.configure(font=FONT, background=BACK, padding=16)
        .configure_axis(
            labelColor=MUTED,
            titleColor=MUTED,
            gridColor=GRID,
            domainColor=GRID,
            tickColor=GRID,
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
        )
        .configure_title(
            color=TEXT, subtitleColor=MUTED, anchor="start", fontSize=15, subtitleFontSize=12, offset=10
        )
        .configure_legend(
            labelColor=TEXT, labelFontSize=12, title=None, orient="top", symbolType="square", labelLimit=400
        )
        .configure_view(stroke=None)
    )


NAMES = 200
"""Pixels left of the plot, the same in all charts, so that they align."""


def names_axis(skip: int, *, labels: bool = True) -> alt.Axis:
    """Return an axis of names, sorted by and without their prefix of ``skip`` characters."""
    return alt.Axis(
        title=None,
        aria=False,  # the marks have descriptions
        labelExpr=f"slice(datum.label, {skip})",
        labels=labels,
        labelLimit=NAMES - 8,
        minExtent=NAMES,
        ticks=False,
    )


def amounts_axis(form: str) -> alt.Axis:
    """Return a vertical axis of tokens or dollars."""
    return alt.Axis(title=None, tickCount=4, format=form, minExtent=NAMES)


def described(field: str = "description") -> alt.Description:
    """Return the text that a screen reader speaks for a mark, instead of all its fields."""
    return alt.Description(field=field, type="nominal")


def time_axis(seconds: float, name: str = "at") -> alt.X:
    """Return the time axis of a chart that is ``seconds`` long."""
    step = _step(max(seconds, 1e-3) / 8)
    values = [round(step * place, 6) for place in range(int(seconds / step) + 1)]
    axis = alt.Axis(values=values, labelExpr=_CLOCK, title=None, labelFlush=False)
    return alt.X(
        field=name,
        type="quantitative",
        axis=axis,
        scale=alt.Scale(domain=[0, max(seconds, 1e-3) * TAIL], nice=False),
    )


def _step(least: float) -> float:
    """Return a round step between ticks, of at least `least` seconds."""
    scale = 1e-6
    while scale < 1:
        for step in (1, 2, 5):
            if step * scale >= least:
                return step * scale
        scale *= 10
    return next((step for step in _STEPS if step >= least), 86400 * -(-least // 86400))


def status_color(statuses: set[str]) -> alt.Color:
    """Return the colours and signs of the given statuses."""
    known = [status for status in MARKS if status in statuses]
    others = sorted(statuses - set(known))
    domain = [status_label(status) for status in [*known, *others]]
    colors = [LIGHT[status] if status in MARKS else MUTED for status in [*known, *others]]
    return alt.Color(field="status", type="nominal", scale=alt.Scale(domain=domain, range=colors))
