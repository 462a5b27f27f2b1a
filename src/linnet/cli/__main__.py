"""python -m linnet.cli"""

import sys

from . import main

sys.exit(main())
