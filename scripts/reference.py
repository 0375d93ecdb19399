"""Write the table of configuration keys into config/README.md, from the schema."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lungfish import command

BEGIN, END = "<!-- keys: begin (made by scripts/reference.py) -->", "<!-- keys: end -->"


def rows(schema: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield a row of the table for each key, a section's keys after its name."""
    for key, part in schema["properties"].items():
        if part.get("type") == "object":
            yield from rows(part, f"{key}.")
        else:
            default = str(part["default"]).replace("|", "\\|") or "empty"
            unit = "" if part["unit"] == "none" else part["unit"]
            yield f"| `{prefix}{key}` | {unit} | `{default}` | {part['description']} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Rewrite the part of the page between the two marks."""
    parser = command.parser(__doc__, schema="config schema (YAML)", page="page to rewrite (.md)")
    args = parser.parse_args(argv)

    import yaml

    from lungfish.errors import InputError
    from lungfish.records import atomic

    text = args.page.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise InputError(f"{args.page} lacks the marks {BEGIN!r} and {END!r}")
    schema = yaml.safe_load(args.schema.read_text(encoding="utf-8"))
    head = ["| key | unit | default | meaning |", "|---|---|---|---|"]
    table = "\n".join([BEGIN, "", *head, *rows(schema), "", END])
    before, rest = text.split(BEGIN)
    with atomic(args.page) as temporary:
        temporary.write_text(before + table + rest.split(END)[1], encoding="utf-8")
    return command.DONE


if __name__ == "__main__":
    command.run(main)
