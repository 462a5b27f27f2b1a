"""`linnet watch` on the tests' yard, with the detector of what walks there: for the live tests.

python tests/live/yard.py OPTIONS...    # of linnet watch
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from yards import RedBoxes

from linnet import cli
from linnet.cli import watch

watch._detector = lambda args: RedBoxes()
sys.exit(cli.main(["watch", *sys.argv[1:]]))
