"""The page that shows a proof to someone who has never seen the project: one HTML file, nothing loaded from elsewhere.

Pure: from recordings to text. Charts are drawn as SVG, so the page needs no script.
"""

from collections.abc import Sequence
from html import escape

from posthouse.load.chaos import chart
from posthouse.load.chaos.recording import Recording

_STYLE = """
:root { --ink: #1c2530; --soft: #5b6776; --line: #d7dde4; --paper: #fff; --tint: #f4f6f8; --good: #17784b;
  --bad: #b3261e; --one: #2563a8; --two: #b26a00; --three: #7a4fa3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaef; --soft: #9aa6b4; --line: #37414d; --paper: #14191f;
  --tint: #1d242c; --good: #5bc08b; --bad: #f2867e; --one: #6fb1f5; --two: #eeb04f; --three: #c29ae6; } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 62rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.7rem; margin: 0 0 .3rem } h2 { font-size: 1.2rem; margin: 2.6rem 0 .2rem }
p { margin: .3rem 0 .8rem; max-width: 46rem } .soft { color: var(--soft); font-size: .92rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: .38rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th { font-weight: 600; font-size: .85rem; color: var(--soft) } th:first-child, td:first-child { text-align: left }
td a { color: inherit } .pass { color: var(--good); font-weight: 600 } .fail { color: var(--bad); font-weight: 600 }
.headline { background: var(--tint); border-radius: .5rem; padding: .8rem 1rem; margin: 1rem 0 1.4rem }
figure { margin: .6rem 0 0 } svg { display: block; width: 100%; height: auto } figcaption { color: var(--soft);
  font-size: .85rem } ul { margin: .2rem 0 .8rem; padding-left: 1.2rem }
.grid { stroke: var(--line) } .label { fill: var(--soft); font-size: 11px } .one { stroke: var(--one) }
.two { stroke: var(--two) } .three { stroke: var(--three) } path { fill: none; stroke-width: 1.6 }
.fault { stroke: var(--bad); stroke-dasharray: 4 3 } .repair { stroke: var(--good); stroke-dasharray: 4 3 }
.note { stroke: var(--soft); stroke-dasharray: 2 4 } text.fault { fill: var(--bad); stroke: none }
text.repair { fill: var(--good); stroke: none } text.note { fill: var(--soft); stroke: none }
text.one { fill: var(--one); stroke: none } text.two { fill: var(--two); stroke: none }
text.three { fill: var(--three); stroke: none } text { font: 11px system-ui, sans-serif }
"""
_INTRODUCTION = """
Posthouse is an instant-messaging service. This page shows what its clients saw while parts of a real cluster on one
machine were killed, frozen or cut off: PostgreSQL with synchronous replicas under Patroni, Valkey with Sentinel,
HAProxy, and several Posthouse nodes. Clients in other processes sent and received all the time. Every one of them noted
what it was given, and a checker compared that with what had been acknowledged.
"""
_COLUMNS = (
    "scenario", "verdict", "acknowledged", "lost", "doubled", "out of order", "pause p99", "longest pause", "allowed",
)  # fmt: skip


def page(recordings: Sequence[Recording], machine: str) -> str:
    """The whole document. `machine` says in a line where and when the runs were made."""
    sections = "".join(map(_section, recordings))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Posthouse when things break</title><style>{_STYLE}</style></head><body>"
        f"<h1>Posthouse when things break</h1><p>{_INTRODUCTION}</p>{_headline(recordings)}"
        f'{_table(recordings)}<p class="soft">A pause is how long a client was not receiving after a fault. Allowed is '
        f"what the project promises for the 99th percentile of clients. {escape(machine)}</p>{sections}</body></html>\n"
    )


def _headline(recordings: Sequence[Recording]) -> str:
    acked = sum(each.acked for each in recordings)
    broken = sum(each.lost + each.duplicated + each.reordered for each in recordings)
    passed = sum(each.verdict == "pass" for each in recordings)
    said = (
        f"{acked:,} messages were acknowledged. "
        + (
            "None was lost, doubled or out of order."
            if not broken
            else f"{broken:,} were lost, doubled or out of order."
        )
        + f" {passed} of {len(recordings)} scenarios stayed within what is promised."
    )
    return f'<p class="headline">{said}</p>'


def _table(recordings: Sequence[Recording]) -> str:
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    rows = "".join(map(_row, recordings))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _row(recording: Recording) -> str:
    name = escape(recording.scenario)
    cells = (
        f'<a href="#{name}">{name}</a>',
        f'<span class="{recording.verdict}">{recording.verdict}</span>',
        f"{recording.acked:,}",
        *(f"{count:,}" for count in (recording.lost, recording.duplicated, recording.reordered)),
        f"{recording.pause_p99_s:.1f} s",
        f"{recording.pause_max_s:.1f} s",
        f"{recording.budget_s:g} s",
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _section(recording: Recording) -> str:
    broken = "".join(f"<li>{escape(each)}</li>" for each in recording.breaches)
    return (
        f'<section id="{escape(recording.scenario)}"><h2>{escape(recording.title)} '
        f'<span class="{recording.verdict}">{recording.verdict}</span></h2>'
        f"<p>{escape(recording.story)}</p>{f'<ul>{broken}</ul>' if broken else ''}"
        f"<p class=soft>{_facts(recording)}</p>{_figure(recording)}</section>"
    )


def _facts(recording: Recording) -> str:
    facts = [
        f"{recording.clients} clients, {recording.seconds:.0f} s",
        f"{recording.acked:,} acknowledged",
        f"{recording.refused:,} refused with a clear code and repeated",
        f"Half of the clients paused {recording.pause_p50_s:.1f} s or less, 99 % {recording.pause_p99_s:.1f} s or less",
    ]
    if recording.detected_s is not None:
        facts.append(f"Detected after {recording.detected_s:.1f} s")
    if recording.recovered_s is not None:
        facts.append(f"Full throughput after {recording.recovered_s:.1f} s")
    return ". ".join(facts) + "."


def _figure(recording: Recording) -> str:
    if not recording.timeline:
        return ""
    return (
        f"<figure>{chart.timeline(recording)}<figcaption>Each second, all clients together. Above: messages "
        "acknowledged and delivered. Below: time from send to delivery, on a logarithmic scale.</figcaption></figure>"
    )
