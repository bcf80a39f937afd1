"""Pictures and their targets as batches.

A room a step: `sources` find pictures, `split_rules` and `splits` say which rows are for training, `dataset`
decodes and transforms a row and asks its target (`zoo.vision.targets`) for what belongs to it, `loaders`
makes batches. `picture_data` holds them for a user, `image_data` has the constructors of classifiers, `block`
goes step by step with every kind of target; `raw` reads new pictures for a prediction.
"""
