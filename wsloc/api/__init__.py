"""The Python API: what ``import wsloc`` offers."""
