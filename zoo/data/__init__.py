"""What a learner trains on, and on which device: loaders whose order is a pure function of (seed, epoch)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
