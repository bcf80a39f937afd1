"""Exported models as a web service: JSON in the user's terms, the Open Inference Protocol, one page."""

from zoo.serving.app import make_app as make_app
from zoo.serving.limits import Limits as Limits
