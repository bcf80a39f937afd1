"""Deep learning on tables: dates, events, categories and missing values in; forecasts and classes out.

Names are imported when first used: everything that prepares frames works without torch, for other models too.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
