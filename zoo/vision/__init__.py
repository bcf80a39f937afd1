"""Image models: data, transforms, pretrained bodies, and the learner that trains them."""

from zoo.vision.augment import RandomDihedral as RandomDihedral
from zoo.vision.augment import RandomFlip as RandomFlip
from zoo.vision.augment import RandomLighting as RandomLighting
from zoo.vision.augment import RandomPerspective as RandomPerspective
from zoo.vision.augment import RandomRotate as RandomRotate
from zoo.vision.augment import RandomTransform as RandomTransform
from zoo.vision.augment import transforms_basic as transforms_basic
from zoo.vision.augment import transforms_side_on as transforms_side_on
from zoo.vision.augment import transforms_top_down as transforms_top_down
from zoo.vision.data import ImageClassifierData as ImageClassifierData
from zoo.vision.images import open_image as open_image
from zoo.vision.images import verify_images as verify_images
from zoo.vision.interpret import ImageModelResults as ImageModelResults
from zoo.vision.learner import ConvLearner as ConvLearner
from zoo.vision.transforms import ImageTransform as ImageTransform
from zoo.vision.transforms import imagenet_stats as imagenet_stats
from zoo.vision.transforms import tfms_from_model as tfms_from_model
from zoo.vision.transforms import tfms_from_stats as tfms_from_stats
