"""Pictures of what the pipeline saw and did."""

from wsloc.visualization.contact_sheet import Block, Tile, contact_sheet
from wsloc.visualization.heatmap import (
    COLORMAPS,
    STYLES,
    color_map,
    draw_boxes,
    gray_map,
    overlay_heatmap,
    overlay_mask,
    overlay_seeds,
    stretch_map,
)
from wsloc.visualization.panel import item_panel

__all__ = [
    "COLORMAPS",
    "STYLES",
    "Block",
    "Tile",
    "color_map",
    "contact_sheet",
    "draw_boxes",
    "gray_map",
    "item_panel",
    "overlay_heatmap",
    "overlay_mask",
    "overlay_seeds",
    "stretch_map",
]
