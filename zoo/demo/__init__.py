"""The offline demo: four domains trained on data made on the spot, one HTML report, four exported models."""

from zoo.demo.run import DemoResult as DemoResult
from zoo.demo.run import run as run
