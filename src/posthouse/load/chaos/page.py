"""The page that shows a proof to someone who has never seen the project: one HTML file, nothing loaded from elsewhere.

Pure: from recordings to text. Charts are drawn as SVG, so the page needs no script. A recording without a timeline, of
which only the figures are known any more, has the chart that an earlier page shows beside the same figures.
"""

import re
from collections.abc import Mapping, Sequence
from html import escape

from posthouse.load.chaos import chart
from posthouse.load.chaos.recording import Recording

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2530; --soft: #566171; --line: #d7dde4; --paper: #fff; --tint: #f3f6f9;
  --good: #17784b; --bad: #b3261e; --one: #2563a8; --two: #a85f00; --three: #7a4fa3; --badge: #fff }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaef; --soft: #9aa6b4; --line: #343e4a; --paper: #14191f;
  --tint: #1d242c; --good: #5bc08b; --bad: #f2867e; --one: #6fb1f5; --two: #eeb04f; --three: #c29ae6;
  --badge: #14191f } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 76rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .6rem }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 0 0 .3rem } h3 { font-size: 1rem; margin: 1.6rem 0 .2rem }
p { margin: .3rem 0 .8rem; max-width: 48rem } .soft, ol, .facts { color: var(--soft); font-size: .92rem }
a { color: inherit } dl { margin: .4rem 0 1rem; max-width: 48rem } dt { font-weight: 600 } dd { margin: 0 0 .5rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: .4rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th { font-weight: 600; font-size: .82rem; color: var(--soft); vertical-align: bottom }
th:first-child, td:first-child { text-align: left; padding-left: 0 }
td:first-child { white-space: normal; min-width: 14rem } td.bar { min-width: 11rem; text-align: left }
td.reason { text-align: left; white-space: normal; color: var(--soft); font-size: .92rem }
.bar i { display: inline-block; vertical-align: middle; width: 5rem; height: .5rem; margin-right: .5rem;
  border-radius: .25rem; background: var(--line); overflow: hidden }
.bar b { display: block; height: 100%; background: var(--good) } .bar b.over { background: var(--bad) }
.pass { color: var(--good); font-weight: 600 } .fail { color: var(--bad); font-weight: 600 }
.skipped { color: var(--soft); font-weight: 600 }
.headline { background: var(--tint); border-left: .3rem solid var(--good); border-radius: .3rem; padding: .9rem 1.1rem;
  margin: 1.2rem 0; font-size: 1.1rem; max-width: none } .headline.broken { border-color: var(--bad) }
section { border-top: 1px solid var(--line); margin-top: 2.4rem; padding-top: 1.6rem }
figure { margin: .8rem 0 0 } svg { display: block; width: 100%; min-width: 46rem; height: auto }
ul { margin: .2rem 0 .8rem; padding-left: 1.2rem; color: var(--bad) } ul li { padding: 0; text-indent: 0 }
ol { margin: .5rem 0 0; padding: 0; list-style: none; columns: 19rem } li { break-inside: avoid; padding-left: 5.6rem;
  text-indent: -5.6rem }
ol b { display: inline-block; min-width: 1.4rem; text-align: right; margin-right: .4rem } ol i { font-style: normal;
  font-variant-numeric: tabular-nums; display: inline-block; min-width: 3.6rem }
ol b, ol i { text-indent: 0 }
ol .fault b { color: var(--bad) } ol .repair b { color: var(--good) }
.grid { stroke: var(--line) } .label { fill: var(--soft); font-size: 11px } .title { fill: var(--ink); font-size: 12px;
  font-weight: 600 } .one { stroke: var(--one) } .two { stroke: var(--two) } .three { stroke: var(--three) }
path { fill: none; stroke-width: 1.6 } .key { stroke-width: 3 } .area { fill: var(--one); opacity: .13; stroke: none }
.trouble { fill: var(--bad); opacity: .07 } line.fault { stroke: var(--bad); stroke-dasharray: 4 3 }
line.repair { stroke: var(--good); stroke-dasharray: 4 3 } line.note { stroke: var(--soft); stroke-dasharray: 2 4 }
circle.fault { fill: var(--bad) } circle.repair { fill: var(--good) } circle.note { fill: var(--soft) }
text { font: 11px system-ui, sans-serif; paint-order: stroke; stroke: var(--paper); stroke-width: 3px }
.badge { fill: var(--badge); font-weight: 600; stroke: none }
"""
_INTRODUCTION = """
Posthouse is a server for instant messaging that runs on several machines at once. This page shows what people in a chat
would have noticed while parts of it broke. A real cluster was broken on purpose, again and again: servers were killed,
frozen, cut off, slowed down. All the while, clients in other processes sent messages to each other. Each of them noted
what it was told and given, and afterwards a checker compared all notes with what the cluster had stored.
"""
_WORDS = (
    (
        "accepted",
        "The cluster has said that a message is safe. From then on it may not be lost, whatever breaks.",
    ),
    (
        "lost, doubled, out of order",
        (
            "Messages that were accepted and not stored or not delivered; that were stored or delivered twice; "
            "or that came in another order than they were sent. Each of these must be 0."
        ),
    ),
    (
        "pause",
        (
            "For how long a client received nothing after the fault. In the table: what 99 % of all clients did not "
            "exceed in the worst run, what they may not, and the longest of any. Messages flow steadily, so without a "
            "fault it is a few tenths of a second."
        ),
    ),
    ("noticed", "When the cluster itself reported that something was wrong."),
    ("recovered", "When all clients together received as much as before, for three seconds."),
)
_COLUMNS = (
    "what was broken", "verdict", "accepted", "lost", "doubled", "out of<br>order", "pause of 99 %, and allowed",
    "longest<br>pause", "noticed<br>after", "recovered<br>after",
)  # fmt: skip


_CHART = re.compile(r'<p class="facts">([^<\n]*)</p>(<figure>[^\n]*?</figure>)')

Charts = Mapping[str, str]
"""Figures by the facts beside which they stand."""


def charts(page: str) -> Charts:
    """What a page shows, to be shown again."""
    return dict(_CHART.findall(page))


def page(recordings: Sequence[Recording], machine: str, made: Mapping[str, str], kept: Charts) -> str:
    """The whole document. `machine` says in a line where the runs were made, `made` of each scenario when and by what,
    `kept` are charts of an earlier page."""
    sections = "".join(_section(each, made.get(each.scenario, ""), kept) for each in recordings)
    words = "".join(f"<dt>{word}</dt><dd>{meaning}</dd>" for word, meaning in _WORDS)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Posthouse when things break</title><style>{_STYLE}</style></head><body>"
        f"<h1>Posthouse when things break</h1><p>{_INTRODUCTION}</p>{_headline(recordings)}"
        f'{_table(recordings)}<h3>The words</h3><dl class="soft">{words}</dl>'
        '<p class="soft">The cluster: PostgreSQL with synchronous replicas under Patroni and etcd, Valkey with '
        f"Sentinel, HAProxy, and several Posthouse nodes. {escape(machine)}</p>{sections}</body></html>\n"
    )


def _headline(recordings: Sequence[Recording]) -> str:
    run = [each for each in recordings if each.verdict != "skipped"]
    acked = sum(each.acked for each in run)
    broken = sum(each.lost + each.duplicated + each.reordered for each in run)
    passed = sum(each.verdict == "pass" for each in run)
    none = "None was lost, doubled or out of order."
    said = [
        f"{acked:,} messages were accepted.",
        f"{broken:,} were lost, doubled or out of order." if broken else none,
        f"{passed} of {len(run)} scenarios stayed within what is promised.",
    ]
    if len(run) < len(recordings):
        said.append(f"{len(recordings) - len(run)} could not be run on this machine.")
    style = "headline" if passed == len(run) else "headline broken"
    return f'<p class="{style}">{" ".join(said)}</p>'


def _table(recordings: Sequence[Recording]) -> str:
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    rows = "".join(map(_row, recordings))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _row(recording: Recording) -> str:
    link = f'<td><a href="#{escape(recording.scenario)}">{escape(recording.title)}</a></td>'
    verdict = f'<td><span class="{recording.verdict}">{recording.verdict}</span></td>'
    if recording.reason:
        reason = f'<td colspan="{len(_COLUMNS) - 2}" class="reason">{escape(recording.reason)}</td>'
        return f"<tr>{link}{verdict}{reason}</tr>"
    counts = (recording.acked, recording.lost, recording.duplicated, recording.reordered)
    cells = "".join(f"<td>{count:,}</td>" for count in counts)
    times = (recording.pause_max_s, recording.detected_s, recording.recovered_s)
    cells += _bar(recording) + "".join(f"<td>{_s(time)}</td>" for time in times)
    return f"<tr>{link}{verdict}{cells}</tr>"


def _bar(recording: Recording) -> str:
    """How much of what is allowed was used."""
    share = (recording.pause_p99_s or 0.0) / recording.budget_s
    over = ' class="over"' if share > 1 else ""
    drawn = f'<i><b{over} style="width:{min(share, 1.0):.0%}"></b></i>'
    return f'<td class="bar">{drawn}{_s(recording.pause_p99_s)} of {recording.budget_s:g} s</td>'


def _s(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"


def _section(recording: Recording, made: str, kept: Charts) -> str:
    broken = "".join(f"<li>{escape(each)}</li>" for each in recording.breaches)
    told = f"Not run here: {escape(recording.reason)}." if recording.reason else _facts(recording)
    figure = _figure(recording) or kept.get(told, "")
    return (
        f'<section id="{escape(recording.scenario)}"><h2>{escape(recording.title)} '
        f'<span class="{recording.verdict}">{recording.verdict}</span></h2>'
        f"<p>{escape(recording.story)}</p>{f'<ul>{broken}</ul>' if broken else ''}"
        f'{f"<p class=soft>{escape(made)}</p>" if made else ""}<p class="facts">{told}</p>{figure}</section>'
    )


def _facts(recording: Recording) -> str:
    runs = f" in {recording.runs} runs" if recording.runs > 1 else ""
    facts = [
        f"{recording.clients:,} clients, {recording.seconds:.0f} s{runs}, {recording.acked:,} messages accepted",
        (
            f"Half of the clients paused {_s(recording.pause_p50_s)} or less, 99 % {_s(recording.pause_p99_s)} or less"
            f"{' in the worst run' if recording.runs > 1 else ''} (without a fault {_s(recording.quiet_p99_s)}), the "
            f"last one {_s(recording.pause_max_s)}"
        ),
        f"The slowest message of 99 % of the clients was accepted after {_s(recording.send_p99_s)} or sooner",
    ]
    if recording.refused:
        facts.append(f"{recording.refused:,} times a message was refused for the moment, and sent again")
    if recording.seed is not None:
        facts.append(f"Seed {recording.seed}")
    return ". ".join(facts) + "."


def _figure(recording: Recording) -> str:
    if not recording.timeline:
        return ""
    marks = "".join(
        f'<li class="{mark.kind}"><b>{number}</b> <i>{mark.at_s:.1f} s</i> {escape(mark.what)}</li>'
        for number, mark in enumerate(chart.numbered(recording.marks), 1)
    )
    return f'<figure><div class="scroll">{chart.timeline(recording)}</div><ol>{marks}</ol></figure>'
