from .described import Dataset as Dataset
from .described import DatasetError as DatasetError
from .described import File as File
from .getting import get as get
from .getting import where as where
from .keeping import Removed as Removed
from .keeping import Verified as Verified
from .keeping import remove as remove
from .keeping import verify as verify
from .local import local_dataset as local_dataset
from .places import cache_dir as cache_dir
from .places import home as home
from .registry import available as available
from .registry import register as register
from .unpacking import Limits as Limits
from .unpacking import unpack as unpack

__all__ = [
    "Dataset",
    "DatasetError",
    "File",
    "Limits",
    "Removed",
    "Verified",
    "available",
    "cache_dir",
    "get",
    "home",
    "local_dataset",
    "register",
    "remove",
    "unpack",
    "verify",
    "where",
]
