"""``make week``: live the long form of the week and print its figures."""

from __future__ import annotations

import sys

from tests.support.lapse import run
from tests.week.story import LONG
from tests.week.telling import lived

if __name__ == "__main__":
    sys.setswitchinterval(0.0001)
    run(lambda loop: lived(loop, LONG, 7, print))
