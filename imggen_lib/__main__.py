"""``python -m imggen_lib`` does what ``imggen`` does."""

import sys

from imggen_lib.cli import main

sys.exit(main())
