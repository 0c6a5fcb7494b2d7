"""Everything that a user chooses by name: one entry per name, imported on first use.

To add one, write a file and add a line here; ``package.module:attribute`` on the command line needs no line.
docs/architecture.md says what each kind of entry is; code that uses one names its type, so that this table, which the
configuration reads, needs to import none of them.
"""

from __future__ import annotations

from typing import Any

from wsloc.plugins import Registry

DATASETS: Registry[Any] = Registry(
    "data set",
    {
        "demo": "wsloc.datasets.demo.open_demo:DEMO",
        "voc": "wsloc.datasets.voc:VOC",
        "coco": "wsloc.datasets.coco:COCO",
        "imagenet": "wsloc.datasets.imagenet:IMAGENET",
        "cub": "wsloc.datasets.cub:CUB",
        "folder": "wsloc.datasets.own_truth:FOLDER",
        "webdataset": "wsloc.datasets.webdataset:WEBDATASET",
        "wsol": "wsloc.datasets.wsol_tables:WSOL",
    },
    needs="read_truth",
)
VIEWS: Registry[Any] = Registry(
    "choice of views",
    {
        "whole": "wsloc.classifiers.preprocessing:whole",
        "mirror": "wsloc.classifiers.preprocessing:mirror",
        "ten-crop": "wsloc.classifiers.preprocessing:ten_crop",
        "multi-scale": "wsloc.classifiers.preprocessing:multi_scale",
        "large": "wsloc.classifiers.preprocessing:large",
        "large-mirror": "wsloc.classifiers.preprocessing:large_mirror",
    },
)
METHODS: Registry[Any] = Registry(
    "saliency method",
    {
        "gradient": "wsloc.saliency.gradient:bind_gradient",
        "gradient-positive": "wsloc.saliency.gradient:bind_gradient_positive",
        "gradient-squared": "wsloc.saliency.gradient:bind_gradient_squared",
        "gradient-x-input": "wsloc.saliency.gradient:bind_gradient_x_input",
        "smoothgrad": "wsloc.saliency.smoothgrad:bind_smoothgrad",
        "smoothgrad-squared": "wsloc.saliency.smoothgrad:bind_smoothgrad_squared",
        "integrated-gradients": "wsloc.saliency.integrated_gradients:bind_integrated_gradients",
        "deconvnet": "wsloc.saliency.relu_rules:bind_deconvnet",
        "guided": "wsloc.saliency.relu_rules:bind_guided",
        "cam": "wsloc.saliency.cam:bind_cam",
        "grad-cam": "wsloc.saliency.grad_cam:bind_grad_cam",
        "grad-cam++": "wsloc.saliency.grad_cam:bind_grad_cam_plus_plus",
        "layer-cam": "wsloc.saliency.grad_cam:bind_layer_cam",
        "xgrad-cam": "wsloc.saliency.grad_cam:bind_xgrad_cam",
        "hires-cam": "wsloc.saliency.grad_cam:bind_hires_cam",
        "guided-grad-cam": "wsloc.saliency.combination:bind_guided_grad_cam",
        "score-cam": "wsloc.saliency.score_cam:bind_score_cam",
        "occlusion": "wsloc.saliency.occlusion:bind_occlusion",
        "rise": "wsloc.saliency.rise:bind_rise",
    },
)
SEGMENTERS: Registry[Any] = Registry(
    "segmenter",
    {
        "grabcut": "wsloc.segmentation.segment:bind_grabcut",
        "grabcut-plain": "wsloc.segmentation.segment:bind_grabcut_plain",
        "grabcut-torch": "wsloc.segmentation.batched_grabcut:bind_grabcut_torch",
        "grabcut-by-value": "wsloc.segmentation.segment:bind_grabcut_by_value",
        "graphcut-2013": "wsloc.segmentation.segment:bind_graphcut_2013",
        "threshold": "wsloc.segmentation.segment:bind_threshold",
    },
)
REFINERS: Registry[Any] = Registry(
    "refiner",
    {"pixel-classifier": "wsloc.learning.set_classifier:PIXEL_CLASSIFIER"},
    needs="fit",
)
FORMATS: Registry[Any] = Registry(
    "export format",
    {
        "coco": "wsloc.exporters.coco:COCO",
        "voc": "wsloc.exporters.voc:VOC",
        "yolo": "wsloc.exporters.yolo:YOLO",
        "imagefolder": "wsloc.exporters.image_folder:IMAGE_FOLDER",
        "label-studio": "wsloc.exporters.label_studio:LABEL_STUDIO",
        "cvat": "wsloc.exporters.coco:CVAT",
    },
    needs="write",
)
DETECTORS: Registry[Any] = Registry(
    "detector",
    {
        "fasterrcnn_mobilenet_v3_large_320_fpn": "wsloc.detection.models:FASTERRCNN_MOBILENET_V3_LARGE_320_FPN",
        "fasterrcnn_resnet50_fpn_v2": "wsloc.detection.models:FASTERRCNN_RESNET50_FPN_V2",
        "retinanet_resnet50_fpn_v2": "wsloc.detection.models:RETINANET_RESNET50_FPN_V2",
        "ssdlite320_mobilenet_v3_large": "wsloc.detection.models:SSDLITE320_MOBILENET_V3_LARGE",
        "fasterrcnn_mobilenet_v2_fpn": "wsloc.detection.models:FASTERRCNN_MOBILENET_V2_FPN",
        "fasterrcnn_mobilenet_v2_320_fpn": "wsloc.detection.models:FASTERRCNN_MOBILENET_V2_320_FPN",
        "fasterrcnn_densenet121_fpn": "wsloc.detection.models:FASTERRCNN_DENSENET121_FPN",
        "fasterrcnn_small_cnn": "wsloc.detection.models:FASTERRCNN_SMALL_CNN",
    },
    needs="build",
)
