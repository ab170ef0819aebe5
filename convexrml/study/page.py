"""A study's report: Markdown, LaTeX, CSV, pictures, and one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from convexrml.study import tables
from convexrml.study.figures import save_figure
from convexrml.study.outcome import Outcome
from convexrml.study.pictures import pictures
from convexrml.study.tables import Table

Drawn = list[tuple[Path, tuple[str, str, Figure]]]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid #eee; vertical-align: top; }
th { border-bottom: 2px solid #999; } .note { color: #555; max-width: 60rem; }
.alarm { color: #b00020; font-weight: 600; }
img { max-width: 100%; }
figure { display: inline-block; margin: .8rem 1rem .8rem 0; max-width: 100%; vertical-align: top; }
figcaption { color: #555; font-size: 13px; max-width: 44rem; }
"""


def write_report(outcome: Outcome, folder: Path, standing: str) -> list[Path]:
    """Write ``report.html``, ``report.md``, ``tables.tex``, ``points.csv`` and the pictures, over earlier ones.

    Parameters
    ----------
    outcome : Outcome
    folder : Path
    standing : str
        One sentence on how far the study is, for the head of the report.
    """
    folder.mkdir(parents=True, exist_ok=True)
    errors = [tables.error_table(outcome, question) for question in outcome.plan.questions]
    background = [tables.data_table(outcome), tables.runs_table(outcome)]
    verdict = judgement(outcome)
    drawn = list(pictures(outcome))
    files = [folder / f"{name}.png" for name, _, _ in drawn]
    for path, (_, _, figure) in zip(files, drawn, strict=True):
        save_figure(figure, path)
    head = [f"# {outcome.plan.title}", "", standing, "", verdict, ""]
    shown = [f"![{caption}]({path.name})\n" for path, (_, caption, _) in zip(files, drawn, strict=True)]
    text = "\n".join(head + [tables.markdown(table) for table in (*errors, *background)] + ["## Pictures", "", *shown])
    written = {
        "report.md": text,
        "report.html": _page(outcome, standing, verdict, errors, background, list(zip(files, drawn, strict=True))),
        "tables.tex": "\n".join(tables.latex(table) for table in errors),
    }
    for name, content in written.items():
        (folder / name).write_text(content, encoding="utf-8")
    tables.write_csv(outcome, folder / "points.csv")
    return [*(folder / name for name in written), folder / "points.csv", *files]


def judgement(outcome: Outcome) -> str:
    """Whether any bound contradicts another, in one sentence."""
    wrong = [(cell, point) for cell in outcome.cells for point in cell.violations.tolist()]
    if not wrong:
        judged = sum(int((cell.lower <= cell.upper).sum()) for cell in outcome.cells)
        proofs = sum(int((cell.accepted == True).sum()) for cell in outcome.cells)  # noqa: E712 - elementwise
        certificates = f"; {proofs} certificates were accepted in exact arithmetic" if proofs else ""
        return f"No lower bound exceeds an upper bound, of {judged} points that have both{certificates}."
    places = ", ".join(f"{cell.case.data.name}/{cell.case.metric.name} point {point}" for cell, point in wrong[:5])
    return (
        f"VIOLATED: {len(wrong)} points have a lower bound above an upper bound, or a rejected certificate: {places}."
    )


def _page(
    outcome: Outcome, standing: str, verdict: str, errors: Sequence[Table], background: Sequence[Table], drawn: Drawn
) -> str:
    title = html.escape(outcome.plan.title)
    tone = ' class="alarm"' if verdict.startswith("VIOLATED") else ""
    parts = [f"<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8><title>{title}</title>"]
    parts += ['<meta name=viewport content="width=device-width">', f"<style>{_STYLE}</style></head><body>"]
    parts += [f"<h1>{title}</h1>", f"<p>{html.escape(standing)}</p>", f"<p{tone}>{html.escape(verdict)}</p>"]
    parts += map(_table, errors)
    parts.append("<h2>Pictures</h2>")
    for path, (_, caption, _) in drawn:
        image = base64.b64encode(path.read_bytes()).decode("ascii")
        words = html.escape(caption)
        parts.append(
            f'<figure><img alt="{words}" src="data:image/png;base64,{image}"><figcaption>{words}</figcaption></figure>'
        )
    parts += map(_table, background)
    parts.append("<h2>Study file</h2><pre>" + html.escape(outcome.facts.get("plan", "")) + "</pre></body></html>\n")
    return "\n".join(parts)


def _table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    note = f'<p class="note">{html.escape(table.note)}</p>' if table.note else ""
    shown = f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    return f"<h2>{html.escape(table.title)}</h2>{shown}{note}"
