"""`python -m stages.cli`: the same as `hicmae`, without an installed script."""

from stages.cli.app import main

if __name__ == "__main__":
    main()
