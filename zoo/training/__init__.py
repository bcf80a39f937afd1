"""What a learner does with the loop: fits, the search for rates and batch sizes, recipes, switches."""
