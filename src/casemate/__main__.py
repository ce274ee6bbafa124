"""`python -m casemate`: the same as the command `casemate`."""

from casemate.cli.main import main

if __name__ == "__main__":
    main()
