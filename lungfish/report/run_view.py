"""What the cohort page says about the run: times, methods, versions."""

from lungfish.report import figures
from lungfish.report.cohort_view import View, summarize_cohort, view_conclusion
from lungfish.report.gmcae_view import METHODS_COHORT_SCOPE, PLAIN_COHORT_SCOPE, say_scope
from lungfish.report.inputs import CohortInputs
from lungfish.report.methods import flatten, installed_versions, write_methods
from lungfish.report.wording import number

METHODS_PRETRAINED = (
    "An encoder that was trained elsewhere was taken as it is ({name}); which patients "
    "it had seen is not known here."
)


def view_times(inputs: CohortInputs) -> View | None:
    """Show where the time went, by stage; None if no benchmark file was found."""
    if not inputs.times:
        return None
    wall = {each.stage: each.wall_seconds for each in inputs.times}
    total = sum(wall.values())
    longest = max(wall, key=wall.__getitem__)
    return {
        "rows": [
            {
                "stage": each.stage,
                "jobs": each.jobs,
                "wall": number(each.wall_seconds, 1),
                "share": number(each.wall_seconds / total if total else 0, 0, scale=100),
                "cpu": number(each.cpu_seconds, 1),
                "memory": number(each.memory_mib, 0),
            }
            for each in inputs.times
        ],
        "total": {
            "jobs": sum(each.jobs for each in inputs.times),
            "wall": number(total, 1),
            "cpu": number(sum(each.cpu_seconds for each in inputs.times), 1),
            "memory": number(max(each.memory_mib for each in inputs.times), 0),
        },
        "drawing": figures.draw_bars(
            wall,
            xlabel="wall time, summed over jobs (s)",
            name="times",
            alt=f"Wall seconds by stage; {longest} took longest. The table gives the numbers.",
        ),
    }


def view_methods(inputs: CohortInputs) -> View:
    """Write the methods paragraph from the settings and counts of this run."""
    counts = summarize_cohort(inputs.cohort)
    values = flatten(inputs.config)
    values |= {f"version.{name}": found for name, found in installed_versions().items()}
    values |= {"count.patients": str(counts["patients"]), "count.refused": str(counts["refused"])}
    if inputs.metrics and view_conclusion(inputs)["kind"] != "none":
        values |= {
            "count.scored": str(inputs.metrics["n"]),
            "count.events": str(inputs.metrics["events"]),
            "count.design": _design(int(inputs.metrics["folds"])),
        }
    if values.get("gmcae.pretrained", "(empty)") != "(empty)":
        name = values["gmcae.pretrained"]
        values["pretrained.sentence"] = METHODS_PRETRAINED.format(name=name)
    elif scope := say_scope(inputs):
        whole = scope == PLAIN_COHORT_SCOPE
        values["scope.sentence"] = METHODS_COHORT_SCOPE if whole else scope
    conclusion = view_conclusion(inputs)
    return {"paragraph": f"{write_methods(values)} {conclusion['heading']}. {conclusion['text']}"}


def _design(folds: int) -> str:
    """Return how patients were held out, in words."""
    if folds == 1:
        return "one fixed division into training and test patients"
    return f"{folds}-fold cross-validation by patient"


def view_provenance(inputs: CohortInputs) -> View:
    """List versions and settings."""
    return {"versions": installed_versions(), "settings": flatten(inputs.config)}
