"""What a model shall say about a picture, a room for each kind of target.

`base` says what a target is; `labelled` (classes, tags), `values` (numbers, points), `maps` (masks, pictures)
and `boxes` are the kinds, `kinds` finds them by the names that archives keep. `labels` and `coding` read what
users write; `view_means` averages answers that lie in the picture, `mean_precision` measures boxes.
"""
