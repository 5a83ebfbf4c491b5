"""A supervisor of workers that are no nodes: run as a program, since signals are its own."""

import os
import sys
from pathlib import Path

from posthouse.app.supervisor import GaveUp, Start, Supervisor
from posthouse.health.crew import CrewRule
from posthouse.kit.backoff import Backoff

count, in_turn = int(sys.argv[1]), len(sys.argv) > 2
rule = CrewRule(
    hung_s=3.0, stop_s=2.0, in_turn=in_turn, nap_s=1.0, backoff=Backoff(first_s=0.05, longest_s=0.2)
)
program = Path(__file__).with_name("worker_at_work.py")


def how(number: int, line: int, why: str) -> Start:
    return Start([sys.executable, str(program), str(number), str(line), why], os.environ)


try:
    Supervisor(count, rule, how, lambda port: print(f"ready at {port}", flush=True)).run()
except GaveUp as error:
    print(error, flush=True)
    sys.exit(1)
