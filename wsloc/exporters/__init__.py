"""Boxes of a run as files that detectors and annotation tools read.

:func:`wsloc.exporters.exporting.export_run` does it; a new format is a file and a line in ``registries.FORMATS``.
Nothing here loads torch or holds all boxes in memory.
"""
