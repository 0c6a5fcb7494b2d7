"""One page about a run, or several: HTML that needs nothing else, and Markdown."""

from wsloc.reporting.page import run_page, several_page
from wsloc.reporting.report_model import RunReport, build_run_report
from wsloc.reporting.run_pictures import Pictures, layer_uris, photo_bytes, take_photos
from wsloc.reporting.runs_comparison import SeveralReport, build_several_report
from wsloc.reporting.text import run_text, several_text

__all__ = [
    "Pictures",
    "RunReport",
    "SeveralReport",
    "build_run_report",
    "build_several_report",
    "layer_uris",
    "photo_bytes",
    "run_page",
    "run_text",
    "several_page",
    "several_text",
    "take_photos",
]
