"""One fit API for images, tables, text and recommendations.

The names stand in the stub beside this file and are imported when first used, so that `import zoo` stays
light and whatever prepares tables and texts works without torch.
"""

import lazy_loader

from zoo._version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
