#!/usr/bin/env python3
"""Draws what `mailwright bench --json` wrote: rate and CPU over one field of the reports, as SVG.

    benches/plot.py --x size --title "By size of the message" --out docs/size.svg 1k.json 4k.json 64k.json

Reports with the same x are one point, their median. Fields in fields are written with dots (accept_ms.p99).
"""

import argparse
import json
import math
import statistics
import sys
from collections import defaultdict
from html import escape
from pathlib import Path

PANELS = [
    ("delivered_per_second", "messages delivered a second", "#1f5fa8"),
    ("cpu_micros_total", "CPU microseconds a message", "#b4501e"),
]
WIDTH, HEIGHT = 640, 200  # of a panel, with its title and its scale
LEFT, RIGHT, TOP, BOTTOM = 70, 24, 34, 26
HEAD, FOOT = 34, 24
INK, GRID = "#222", "#ddd"


def field(report, name):
    value = report
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            sys.exit(f"plot: a report has no field {name!r}")
        value = value[part]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        sys.exit(f"plot: {name!r} is {value!r}, no number")
    return value


def medians(reports, x, y):
    found = defaultdict(list)
    for report in reports:
        found[field(report, x)].append(field(report, y))
    return sorted((at, statistics.median(values)) for at, values in found.items())


def marks(top):
    """Round numbers from zero to the first that is not below `top`, about four of them."""
    if top <= 0:
        return [0, 1]
    step = 10 ** math.floor(math.log10(top / 4))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if top / (step * factor) <= 5)
    return [step * n for n in range(math.ceil(top / step) + 1)]


def words(number):
    return f"{number:,.10g}"


def text(x, y, content, anchor="middle", size=12, **attributes):
    more = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{more}>{escape(content)}</text>'


def line(x1, y1, x2, y2, color):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"/>'


def places(values, is_log):
    """Where each x stands, from 0 to 1."""
    scale = math.log if is_log else float
    if is_log and min(values) <= 0:
        sys.exit("plot: --log wants every x above zero")
    low, high = (scale(min(values)), scale(max(values))) if is_log else (min(0, *values), max(values))
    span = (high - low) or 1
    return {value: (scale(value) - low) / span for value in values}


def panel(points, title, color, offset, is_log):
    left, right = LEFT, WIDTH - RIGHT
    top, bottom = offset + TOP, offset + HEIGHT - BOTTOM
    scale = marks(max(y for _, y in points))
    across = places([x for x, _ in points], is_log)
    at = lambda x, y: (left + across[x] * (right - left), bottom - y / scale[-1] * (bottom - top))
    out = [text(left, top - 12, title, "start", 13, fill=color, font_weight="bold")]
    for mark in scale:
        y = bottom - mark / scale[-1] * (bottom - top)
        out += [line(left, y, right, y, GRID), text(left - 8, y + 4, words(mark), "end")]
    spots = [(*at(x, y), x, y) for x, y in points]
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py, _, _ in spots)
    out.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
    written = -math.inf
    for px, py, x, y in spots:
        hint = f"<title>{escape(words(x))}: {y:,.0f}</title>"
        out.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" fill="{color}">{hint}</circle>')
        # A label that would run into its neighbour is left out; its point stays.
        if px - written >= 7 * len(words(x)) + 10:
            out += [line(px, bottom, px, bottom + 4, INK), text(px, bottom + 18, words(x))]
            written = px
    return out


def draw(reports, x, title, is_log):
    height = HEAD + HEIGHT * len(PANELS) + FOOT
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" fill="{INK}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        text(WIDTH / 2, 24, title, size=16),
    ]
    for number, (name, caption, color) in enumerate(PANELS):
        out += panel(medians(reports, x, name), caption, color, HEAD + number * HEIGHT, is_log)
    out += [text((LEFT + WIDTH - RIGHT) / 2, height - 10, x.replace("_", " ")), "</svg>"]
    return "\n".join(out) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="reports of mailwright bench --json")
    parser.add_argument("--x", required=True, metavar="FIELD", help="the field that goes across")
    parser.add_argument("--log", action="store_true", help="x by its logarithm")
    parser.add_argument("--title", default="mailwright bench")
    parser.add_argument("--out", type=Path, metavar="SVG", help="standard output if not given")
    args = parser.parse_args()
    reports = [report for file in args.files for report in json.loads(file.read_text())]
    if not reports:
        sys.exit("plot: the files hold no report")
    svg = draw(reports, args.x, args.title, args.log)
    if args.out:
        args.out.write_text(svg)
    else:
        sys.stdout.write(svg)


if __name__ == "__main__":
    main()
