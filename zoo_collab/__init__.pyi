from .data import CollabData as CollabData
from .evaluate import RankingMetrics as RankingMetrics
from .ids import IdMap as IdMap
from .learner import CollabLearner as CollabLearner
from .models import EmbeddingDotBias as EmbeddingDotBias
from .models import EmbeddingNet as EmbeddingNet
from .table import CollabFilterDataset as CollabFilterDataset
