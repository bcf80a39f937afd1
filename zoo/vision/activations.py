"""What layers give while pictures pass through a network: the hooks of the core."""

from zoo.inspect.hooks import SaveFeatures as SaveFeatures
