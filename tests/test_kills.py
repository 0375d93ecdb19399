"""A run killed with -9 anywhere ends, by the same command again, in the same results."""

import random
import shutil

import pytest

from tests import chaos
from tests.test_names import STAGES
from tests.workflow_runner import snakemake


@pytest.mark.parametrize("group", [False, True], ids=["snakemake alone", "whole group"])
def test_killed_in_each_stage_it_ends_in_equal_results(tiny, tmp_path, group):
    clone, undisturbed = tiny
    chance = random.Random(20171009 + group)
    run = tmp_path / "run"
    run.mkdir()
    for stage in STAGES:
        moment_s = chance.uniform(0, 0.6)
        kills = chaos.kill_until_hit(clone, run, stage, group=group, moment_s=moment_s)
        assert stage in kills[-1].at_work
    found = snakemake(clone, run)
    assert found.returncode == 0, found.stdout
    assert chaos.differences(run, undisturbed) == []


def test_a_changed_a_missing_and_a_left_over_result_are_differences(tiny, tmp_path):
    _, undisturbed = tiny
    run = tmp_path / "run"
    shutil.copytree(undisturbed / "results", run / "results")
    assert chaos.differences(run, undisturbed) == []
    table, page = "results/cohort/cohort.tsv", "results/report/patients/tiny-1.html"
    left, store = "results/lungs/.77.tiny-1.json", "results/patches/tiny-2.h5"
    (run / table).write_text((run / table).read_text().replace("tiny-1", "tiny-9"))
    (run / page).unlink()
    (run / left).touch()
    with chaos.h5py.File(run / store, "r+") as file:
        file["patches"][0, 0, 0, 0] += 1
    assert set(chaos.differences(run, undisturbed)) == {table, page, left, store}


@pytest.mark.parametrize("kills", [1, 12, 36, 200])
def test_kills_are_spread_evenly_over_stages_and_both_ways(kills):
    plan = [(stage, group) for round_ in chaos.plan_kills(kills, 0) for stage, group, _ in round_]
    assert len(plan) == kills
    counts = [sum(stage == each for stage, _ in plan) for each in STAGES]
    assert max(counts) - min(counts) <= 1
    if kills >= 24:
        assert all({group for stage, group in plan if stage == each} == {True, False} for each in STAGES)  # noqa: E501  # fmt: skip


@pytest.mark.slow
def test_the_command_prints_a_line_a_kill_and_a_table(tmp_path, capsys):
    assert chaos.main(["--kills", "2", "--scratch", str(tmp_path / "chaos")]) == 0
    text = capsys.readouterr().out
    assert text.count("\nkill ") + text.startswith("kill ") >= 2
    assert "2 kills in their stage" in text
    assert "all results of 1 runs equal the undisturbed run's" in text
