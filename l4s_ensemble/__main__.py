"""``python -m l4s_ensemble``."""

from l4s_ensemble.cli import main

if __name__ == "__main__":
    main()
