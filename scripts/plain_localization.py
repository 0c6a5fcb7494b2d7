"""The plainest script for boxes from image-level labels, which benchmark_job.py compares wsloc with.

Grad-CAM by pytorch-grad-cam and OpenCV's GrabCut at the size of the image, one item after the other. ITEMS holds
rows ``image,output``.

    python scripts/plain_localization.py ITEMS mobilenet_v2.pth BOXES
"""

import csv
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torchvision import models

items, weights, boxes = sys.argv[1:]
network = models.mobilenet_v2()
network.load_state_dict(torch.load(weights, weights_only=True))
network.eval()
preprocess = models.MobileNet_V2_Weights.IMAGENET1K_V1.transforms()
with GradCAM(network, [network.features[-1]]) as cam, Path(boxes).open("w") as file, Path(items).open() as rows:
    for path, output in csv.reader(rows):
        image = Image.open(path).convert("RGB")
        saliency = cam(preprocess(image)[None], [ClassifierOutputTarget(int(output))])[0]
        saliency = cv2.resize(saliency, image.size)
        trimap = np.full(saliency.shape, cv2.GC_PR_BGD, np.uint8)
        trimap[saliency > np.quantile(saliency, 0.95)] = cv2.GC_FGD
        trimap[saliency < np.quantile(saliency, 0.3)] = cv2.GC_BGD
        models_of_colors = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(np.array(image), trimap, (0, 0, 0, 0), *models_of_colors, 5, cv2.GC_INIT_WITH_MASK)
        mask = np.isin(trimap, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
        stats = cv2.connectedComponentsWithStats(mask)[2]
        if len(stats) > 1:
            x, y, width, height, _ = max(stats[1:], key=lambda row: row[4])
            file.write(f"{path},{x},{y},{x + width},{y + height}\n")
