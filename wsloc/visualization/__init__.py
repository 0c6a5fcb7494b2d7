"""Pictures of what the pipeline saw and did."""

from wsloc.visualization.heatmap import draw_boxes, overlay_heatmap, overlay_mask, overlay_seeds
from wsloc.visualization.panel import item_panel

__all__ = ["draw_boxes", "item_panel", "overlay_heatmap", "overlay_mask", "overlay_seeds"]
