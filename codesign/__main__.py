"""``python -m codesign``: the same program as the ``codesign`` command."""

from codesign.app.cli import run

if __name__ == "__main__":
    run()
