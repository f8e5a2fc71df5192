"""``python -m rxruns`` and the ``rxruns`` command."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line, or say what to install for it and exit with 2."""
    try:
        from rxruns.cli import run  # noqa: PLC0415  (needs an extra)

        sys.exit(run())
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("click", "rich", "yaml"):
            raise
        sys.stderr.write(f"rxruns: the command line needs {error.name}: pip install 'rxruns[cli]'\n")
        sys.exit(2)
    except KeyboardInterrupt:  # while it was imported
        sys.exit(130)


if __name__ == "__main__":
    main()
