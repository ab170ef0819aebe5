"""A study's report: Markdown, LaTeX, CSV, pictures, and one HTML page that needs nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from convexrml.documents.blocks import Alarm, Picture, Section, Table, Verbatim
from convexrml.documents.latex import latex
from convexrml.documents.markdown import write_markdown
from convexrml.documents.web_page import write_html
from convexrml.study import tables
from convexrml.study.outcome import Outcome
from convexrml.study.pictures import pictures

_VIOLATED = "VIOLATED"


def write_report(outcome: Outcome, folder: Path, standing: str) -> list[Path]:
    """Write ``report.html``, ``report.md``, ``tables.tex``, ``points.csv`` and the pictures, over earlier ones.

    Parameters
    ----------
    outcome : Outcome
    folder : Path
    standing : str
        One sentence on how far the study is, for the head of the report.

    Returns
    -------
    list of Path
        The files written, the page first.
    """
    errors = [tables.error_table(outcome, question) for question in outcome.plan.questions]
    sections = _document(outcome, errors, standing)
    written, *drawn = write_markdown(sections, folder / "report.md")
    page = write_html(sections, folder / "report.html")
    tex, points = folder / "tables.tex", folder / "points.csv"
    tex.write_text("\n".join(map(latex, errors)), encoding="utf-8")
    tables.write_csv(outcome, points)
    return [page, written, tex, points, *drawn]


def _document(outcome: Outcome, errors: list[Table], standing: str) -> list[Section]:
    verdict = judgement(outcome)
    return [
        Section(1, outcome.plan.title, (standing, Alarm(verdict) if verdict.startswith(_VIOLATED) else verdict)),
        *map(_section, errors),
        Section(2, "Pictures", tuple(Picture(name, figure, words) for name, words, figure in pictures(outcome))),
        _section(tables.data_table(outcome)),
        _section(tables.runs_table(outcome)),
        Section(2, "Study file", (Verbatim(outcome.facts.get("plan", "")),)),
    ]


def _section(table: Table) -> Section:
    return Section(2, table.title, (dataclasses.replace(table, title=""),))


def judgement(outcome: Outcome) -> str:
    """Whether any bound contradicts another, in one sentence."""
    wrong = [(cell, point) for cell in outcome.cells for point in cell.violations.tolist()]
    if not wrong:
        judged = sum(int((cell.lower <= cell.upper).sum()) for cell in outcome.cells)
        proofs = sum(int((cell.accepted == True).sum()) for cell in outcome.cells)  # noqa: E712 - elementwise
        certificates = f"; {proofs} certificates were accepted in exact arithmetic" if proofs else ""
        return f"No lower bound exceeds an upper bound, of {judged} points that have both{certificates}."
    places = ", ".join(f"{cell.case.data.name}/{cell.case.metric.name} point {point}" for cell, point in wrong[:5])
    found = f"{len(wrong)} points have a lower bound above an upper bound, or a rejected certificate"
    return f"{_VIOLATED}: {found}: {places}."
