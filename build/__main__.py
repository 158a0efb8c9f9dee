"""`python -m build`."""

from build.cli import main

if __name__ == "__main__":
    main()
