"""`python -m hicmae.cli`: the same as `hicmae`, without an installed script."""

from hicmae.cli.app import main

if __name__ == "__main__":
    main()
