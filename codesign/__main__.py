"""``python -m codesign``: the same program as the ``codesign`` command."""

import sys

from codesign.app.cli import main

if __name__ == "__main__":
    sys.exit(main())
