"""python -m linnet.cli, which is python -m linnet"""

import sys

from . import main

sys.exit(main())
