"""``python -m codexproxy`` is the command ``codexproxy``."""

from codexproxy.cli import main

if __name__ == "__main__":
    main()
