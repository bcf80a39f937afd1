from .app import make_app as make_app
from .limits import Limits as Limits
from .record import corrected as corrected
