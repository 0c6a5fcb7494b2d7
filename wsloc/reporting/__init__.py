"""One page about a run, or several: HTML that needs nothing else, and Markdown."""

from wsloc.reporting.comparison_report import ComparisonReport, build_comparison_report
from wsloc.reporting.page import comparison_page, run_page
from wsloc.reporting.report_model import RunReport, build_run_report
from wsloc.reporting.run_pictures import Pictures, layer_uris, photo_bytes, take_photos
from wsloc.reporting.text import comparison_text, run_text

__all__ = [
    "ComparisonReport",
    "Pictures",
    "RunReport",
    "build_comparison_report",
    "build_run_report",
    "comparison_page",
    "comparison_text",
    "layer_uris",
    "photo_bytes",
    "run_page",
    "run_text",
    "take_photos",
]
