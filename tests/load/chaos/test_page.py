"""The page of a proof says what was found, escapes what it is given, and loads nothing from elsewhere."""

from xml.etree import ElementTree as ET

import msgspec
import pytest

from posthouse.load.chaos.chart import timeline
from posthouse.load.chaos.page import charts, page
from posthouse.load.chaos.recording import Mark, Moment, Recording, recorded, summary

RUN = Recording(
    scenario="kill-node",
    title="A node is killed",
    story="One of <three> nodes is killed.",
    budget_s=2.0,
    acked=1_000,
    lost=0,
    duplicated=0,
    reordered=0,
    pause_p50_s=0.4,
    pause_p99_s=1.5,
    pause_max_s=2.5,
    detected_s=1.9,
    runs=1,
    timeline=tuple(Moment(float(at), 500, 15_000, 8.0, 40.0) for at in range(30)),
    marks=(Mark(10.0, "node-1 & its processes killed"), Mark(20.0, "node-1 started", "repair")),
)


def shown(*recordings: Recording) -> str:
    return page(recordings, "2 cores", {}, {})


def test_a_run_passes_when_nothing_is_broken_and_the_99th_percentile_keeps_the_budget() -> None:
    assert RUN.verdict == "pass"
    for change in (
        {"lost": 1},
        {"duplicated": 1},
        {"reordered": 1},
        {"pause_p99_s": 2.1},
        {"breaches": ("x",)},
        {"pause_p99_s": None},
    ):
        assert msgspec.structs.replace(RUN, **change).verdict == "fail", change


def test_what_could_not_be_run_has_neither_passed_nor_failed() -> None:
    skipped = msgspec.structs.replace(RUN, reason="there is no disk", pause_p99_s=None, acked=0)
    assert skipped.verdict == "skipped"
    text = shown(RUN, skipped)
    assert "1 of 1 scenarios" in text
    assert "1 could not be run" in text
    assert "there is no disk" in text


def test_machines_read_the_counts_without_the_timeline() -> None:
    told = summary(RUN)
    wanted = {
        "scenario", "acked", "lost", "duplicated", "reordered", "pause_p99_s", "pause_max_s", "budget_s", "verdict",
    }  # fmt: skip
    assert wanted <= told.keys()
    assert "timeline" not in told


def test_the_page_names_each_run_and_what_broke() -> None:
    broken = msgspec.structs.replace(RUN, scenario="wipe-cache", lost=3, breaches=("G4: <b> lacks 7",))
    text = shown(RUN, broken)
    assert "1 of 2 scenarios" in text
    assert "3 were lost" in text
    assert "G4: &lt;b&gt; lacks 7" in text
    assert "<three>" not in text
    assert "http" not in text


def test_of_several_runs_the_worst_one_is_told() -> None:
    assert "99 % 1.5 s or less in the worst run (" in shown(msgspec.structs.replace(RUN, runs=3))
    assert "99 % 1.5 s or less (" in shown(RUN)


def test_the_page_promises_no_reasons_that_it_does_not_give() -> None:
    assert "reason" not in shown(RUN).partition("The words")[2]


def test_a_page_with_nothing_broken_says_so() -> None:
    assert "None was lost" in shown(RUN)


def test_a_chart_is_well_formed_and_numbers_every_mark_as_the_list_beside_it_does() -> None:
    drawn = ET.fromstring(timeline(RUN))
    badges = [element.text for element in drawn.iter("text") if element.get("class") == "badge"]
    assert badges == ["1", "2"]
    assert [element.text for element in drawn.iter("title")] == [mark.what for mark in RUN.marks]
    text = shown(RUN)
    assert text.index("<b>1</b> <i>10.0 s</i> node-1 &amp; its") < text.index(
        "<b>2</b> <i>20.0 s</i> node-1 started"
    )


def test_the_time_from_a_fault_to_its_repair_is_tinted_and_badges_do_not_cover_each_other() -> None:
    marks = tuple(Mark(10.0 + each / 10, f"fault {each}") for each in range(2))
    drawn = ET.fromstring(
        timeline(msgspec.structs.replace(RUN, marks=(*marks, Mark(20.0, "mended", "repair"))))
    )
    (trouble,) = drawn.iter("rect")
    first, second, last = drawn.iter("circle")
    assert float(trouble.get("x", "")) == float(first.get("cx", ""))
    assert float(trouble.get("width", "")) == pytest.approx(
        float(last.get("cx", "")) - float(first.get("cx", "")), abs=0.2
    )
    assert first.get("cy") != second.get("cy")
    assert first.get("cy") == last.get("cy")


def test_a_run_without_deliveries_is_drawn_too() -> None:
    silent = msgspec.structs.replace(RUN, timeline=(Moment(0.0, 0, 0),), marks=())
    ET.fromstring(timeline(silent))


def test_what_is_usual_is_so_before_the_first_fault() -> None:
    dead = tuple(Moment(float(at), 500 if at < 10 else 0, 15_000 if at < 10 else 0) for at in range(60))
    assert "received, usually 15,000 a second" in timeline(msgspec.structs.replace(RUN, timeline=dead))


def test_what_only_a_record_knows_is_shown_with_the_chart_that_a_page_has_of_it() -> None:
    other = msgspec.structs.replace(RUN, scenario="wipe-cache", acked=2_000)
    skipped = msgspec.structs.replace(RUN, scenario="slow-disk", reason="there is none", timeline=())
    before = charts(shown(skipped, RUN, skipped, other))
    known = [recorded(summary(each)) for each in (RUN, other)]
    text = page(known, "2 cores", {"kill-node": "Run today."}, before)
    assert text.count("<figure>") == 2
    assert text.count("Run today.") == 1
    assert known[0].verdict == RUN.verdict
    again = msgspec.structs.replace(known[0], acked=999)
    assert page([again], "2 cores", {}, before).count("<figure>") == 0, "it is not of this run"
