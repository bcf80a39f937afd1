"""The parts of `benchmarks/gpu.py`: what is prepared, what is checked, what is measured."""
