"""The limit of open files is raised as far as it goes."""

import subprocess
import sys

PROGRAM = """
import resource
from posthouse.kit.descriptors import limit, raise_limit
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
assert limit() == 64
raise_limit()
assert limit() == hard
"""


def test_a_process_takes_all_that_the_hard_limit_allows() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=30)
