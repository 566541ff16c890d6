"""``python -m hearable``: the command line."""

from hearable.cli import app

if __name__ == "__main__":
    app(prog_name="hearable")
