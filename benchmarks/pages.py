"""Puts what a benchmark found into a page of the docs, between two marks."""

from pathlib import Path


def put(page: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and the next ``<!-- end -->`` of a page.

    Raises
    ------
    SystemExit
        If the page lacks the marks.
    """
    whole = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->\n", "<!-- end -->"
    before, found, after = whole.partition(begin)
    _, closed, rest = after.partition(end)
    if not found or not closed:
        raise SystemExit(f"{page}: expected {begin.strip()} and {end} after it")
    page.write_text(before + begin + text.strip() + "\n" + closed + rest, encoding="utf-8")
