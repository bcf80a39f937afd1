"""The `zoo` command."""

from zoo.cli.app import main as main
