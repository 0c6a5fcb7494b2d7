"""The front door in Python: what ``import wsloc`` offers."""
