"""wsloc turns image-level labels into bounding boxes.

``__init__.pyi`` lists every name that is offered here, once; each is loaded on first use, so that importing wsloc does
not import torch.
"""

import lazy_loader

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
