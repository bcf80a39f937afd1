"""Recommenders: any two columns of ids and a measure, factored into embeddings."""

from zoo_collab.data import CollabData as CollabData
from zoo_collab.dataset import CollabFilterDataset as CollabFilterDataset
from zoo_collab.ids import IdMap as IdMap
from zoo_collab.learner import CollabLearner as CollabLearner
from zoo_collab.models import EmbeddingDotBias as EmbeddingDotBias
from zoo_collab.models import EmbeddingNet as EmbeddingNet
