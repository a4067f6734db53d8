"""`python -m userip`: the console script."""

from userip.commands import main

if __name__ == "__main__":
    main()
