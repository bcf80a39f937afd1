"""Exported models as a web service: JSON in the user's terms, the Open Inference Protocol, one page."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
