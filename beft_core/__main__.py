"""``python -m beft_core``: the same as the command ``beft``."""

from beft_core.cli import main

if __name__ == "__main__":
    main()
