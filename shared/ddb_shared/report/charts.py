"""Charts as static SVG, drawn by pygal in the colours of the page, without its scripts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ddb_shared.text import clock_text, printable

Points = Sequence[tuple[float, float]]

_SCRIPTS: Final = re.compile(r"<script\b.*?</script>|<!--.*?-->|<script\b[^>]*/>", re.DOTALL)
_WIDTH, _HEIGHT = 760, 240
_LEGEND_COLUMNS: Final = 4


def line_chart(series: Mapping[str, Points], *, cap: Points = ()) -> str:
    """Values over seconds; the cap is a dashed line."""
    import pygal  # noqa: PLC0415 - 50 ms that only a report needs

    chart = pygal.XY(
        **_settings(len(series), legend=len(series) > 1 or bool(cap)),
        show_dots=False,
        stroke_style={"width": 2},
        x_value_formatter=clock_text,
    )
    for name, points in series.items():
        chart.add(printable(name), list(points))
    if cap:
        chart.add("cap", list(cap), stroke_style={"width": 1.2, "dasharray": "5,4"})
    return _svg(chart)


def bar_chart(name: str, values: Sequence[float], labels: Sequence[str]) -> str:
    """One bar for each value."""
    import pygal  # noqa: PLC0415 - as above

    chart = pygal.Bar(
        **_settings(1, legend=False),
        spacing=0,
        rounded_bars=0,
        x_labels_major_count=8,
        show_minor_x_labels=False,
    )
    chart.x_labels = list(labels)
    chart.add(name, list(values))
    return _svg(chart)


def _settings(lines: int, *, legend: bool) -> dict[str, Any]:
    from pygal.style import Style  # noqa: PLC0415 - as above

    style = Style(
        background="transparent",
        plot_background="transparent",
        foreground="var(--ink)",
        foreground_strong="var(--ink)",
        foreground_subtle="var(--line)",
        guide_stroke_color="var(--line)",
        guide_stroke_dasharray="1,0",
        major_guide_stroke_color="var(--line)",
        major_guide_stroke_dasharray="1,0",
        stroke_width="2",
        opacity="1",
        opacity_hover="1",
        transition="0s",
        font_family="inherit",
        label_font_size=12,
        major_label_font_size=12,
        legend_font_size=12,
        colors=(*(f"var(--c{number % 8})" for number in range(lines)), "var(--ink)"),
    )
    return {
        "js": (),
        "style": style,
        "width": _WIDTH,
        "height": _HEIGHT,
        "disable_xml_declaration": True,
        "legend_at_bottom": True,
        "legend_at_bottom_columns": _LEGEND_COLUMNS,
        "legend_box_size": 10,
        "show_legend": legend,
        "margin": 8,
        "margin_bottom": 42 if lines > _LEGEND_COLUMNS else 30,  # pygal leaves no room for labels and legend
        "include_x_axis": True,
        "value_formatter": lambda value: f"{value:,.0f}",
        "y_labels_major_count": 4,
        "show_minor_y_labels": False,
        "truncate_label": -1,
        "truncate_legend": 24,
        "no_data_text": "no data",
    }


def _svg(chart: Any) -> str:
    """The picture alone: no script, no comment, nothing that the page would load."""
    return _SCRIPTS.sub("", chart.render(is_unicode=True))


def rates(seconds: Sequence[float], sums: Sequence[float], offset: float = 0.0) -> list[tuple[float, float]]:
    """Per second, from one running sum to the next; `offset` is added to the times."""
    points = []
    before_at, before = 0.0, 0.0
    for at, total in zip(seconds, sums, strict=True):
        if at > before_at:
            points.append((at + offset, max(total - before, 0.0) / (at - before_at)))
        before_at, before = at, total
    return points
